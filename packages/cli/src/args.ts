// Owns: the command line → what to do. Options end at the first word that is none: what follows is the command's, whatever it looks like.

import { parseArgs as parseNodeArgs } from 'node:util'

export interface ExecArguments {
  command: string[]
  proxy?: string
  config?: string
  pcap?: string
  verbose: boolean
}

export type Command =
  | { do: 'exec'; arguments: ExecArguments }
  | { do: 'help' | 'exec-help' | 'version' }
  | { do: 'complain'; message: string }

const EXEC_OPTIONS = {
  proxy: { type: 'string' },
  config: { type: 'string' },
  pcap: { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
} as const

const complain = (message: string, where = 'tun'): Command => ({ do: 'complain', message: `${message} (${where} --help shows how)` })

export function parseArgs(argv: readonly string[]): Command {
  const [verb, ...rest] = argv
  switch (verb) {
    case 'exec':
      return parseExec(rest)
    case undefined:
    case '-h':
    case '--help':
    case 'help':
      return { do: rest[0] === 'exec' ? 'exec-help' : 'help' }
    case '-V':
    case '--version':
      return { do: 'version' }
    default:
      return complain(verb.startsWith('-') ? `unknown option ${verb}` : `there is no '${verb}'; did you mean 'tun exec -- ${verb}'?`)
  }
}

function parseExec(argv: readonly string[]): Command {
  const end = endOfOptions(argv)
  const command = argv.slice(argv[end] === '--' ? end + 1 : end)
  try {
    const { values } = parseNodeArgs({ args: argv.slice(0, end), options: EXEC_OPTIONS, strict: true, allowPositionals: false })
    if (values.help) return { do: 'exec-help' }
    for (const key of ['proxy', 'config', 'pcap'] as const) if (values[key] === '') return complain(`--${key} needs a value`, 'tun exec')
    if (command.length === 0 || command[0] === '') return complain('there is no command to run', 'tun exec')
    const { proxy, config, pcap, verbose = false } = values
    return { do: 'exec', arguments: { command, proxy, config, pcap, verbose } }
  } catch (error) {
    return complain((error as Error).message.split(/\. |\n/)[0].replace(/\.$/, ''), 'tun exec')
  }
}

/** The index of `--` or of the first word that is neither an option nor an option's value. */
function endOfOptions(argv: readonly string[]): number {
  let i = 0
  while (i < argv.length && argv[i].startsWith('-') && argv[i] !== '-' && argv[i] !== '--') {
    const name = argv[i].slice(2)
    const takesValue = Object.hasOwn(EXEC_OPTIONS, name) && EXEC_OPTIONS[name as keyof typeof EXEC_OPTIONS].type === 'string'
    i += takesValue ? 2 : 1
  }
  return Math.min(i, argv.length)
}
