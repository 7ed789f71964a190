// Owns: the command line → what to do. Options end at the first word that is none: what follows is the command's, whatever it looks like.

import { type ParseArgsConfig, parseArgs as parseNodeArgs } from 'node:util'

export interface ExecArguments {
  command: string[]
  proxy?: string
  config?: string
  pcap?: string
  verbose: boolean
}

export interface DumpArguments {
  /** Empty: an existing NIC is listened to. */
  command: string[]
  device?: string
  proxy?: string
  config?: string
  /** Where the pcapng goes; - is standard output. */
  write?: string
  /** Lines, too, although packets are written to a file. */
  print: boolean
  filter?: string
  /** End – or with a command: stop looking – after so many packets. */
  count?: number
}

export interface DoctorArguments {
  json: boolean
  config?: string
}

export const VERBS = ['exec', 'dump', 'doctor'] as const
export type Verb = (typeof VERBS)[number]

export type Command =
  | { do: 'exec'; arguments: ExecArguments }
  | { do: 'dump'; arguments: DumpArguments }
  | { do: 'doctor'; arguments: DoctorArguments }
  | { do: 'help'; about?: Verb }
  | { do: 'version' }
  | { do: 'complain'; message: string }

type Options = NonNullable<ParseArgsConfig['options']>

const HELP = { type: 'boolean', short: 'h' } as const
const EXEC_OPTIONS = {
  proxy: { type: 'string' },
  config: { type: 'string' },
  pcap: { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
  help: HELP,
} as const
const DUMP_OPTIONS = {
  device: { type: 'string', short: 'i' },
  proxy: { type: 'string' },
  config: { type: 'string' },
  write: { type: 'string', short: 'w' },
  print: { type: 'boolean' },
  filter: { type: 'string', short: 'f' },
  count: { type: 'string', short: 'c' },
  help: HELP,
} as const
const DOCTOR_OPTIONS = { json: { type: 'boolean' }, config: { type: 'string' }, help: HELP } as const

/** What the user is told; thrown within this file only. */
class Complaint extends Error {}

export function parseArgs(argv: readonly string[]): Command {
  const [verb, ...rest] = argv
  switch (verb) {
    case 'exec':
    case 'dump':
    case 'doctor':
      return parseVerb(verb, rest)
    case undefined:
    case '-h':
    case '--help':
    case 'help':
      if (verb === 'help' && rest.length > 0 && !(VERBS as readonly string[]).includes(rest[0])) return complain(`there is no '${rest[0]}'`)
      return { do: 'help', about: VERBS.find(known => known === rest[0]) }
    case '-V':
    case '--version':
      return { do: 'version' }
    default:
      return complain(verb.startsWith('-') ? `unknown option ${verb}` : `there is no '${verb}'; did you mean 'tun exec -- ${verb}'?`)
  }
}

const complain = (message: string, where = 'tun'): Command => ({ do: 'complain', message: `${message} (${where} --help shows how)` })

function parseVerb(verb: Verb, argv: readonly string[]): Command {
  try {
    return { exec: parseExec, dump: parseDump, doctor: parseDoctor }[verb](argv)
  } catch (error) {
    return complain((error as Error).message.split(/\. |\n/)[0].replace(/\.$/, ''), `tun ${verb}`)
  }
}

function parseExec(argv: readonly string[]): Command {
  const { values, command } = parsed(argv, EXEC_OPTIONS)
  if (values.help) return { do: 'help', about: 'exec' }
  if (command.length === 0 || command[0] === '') throw new Complaint('there is no command to run')
  const { proxy, config, pcap, verbose = false } = values
  return { do: 'exec', arguments: { command, proxy, config, pcap, verbose } }
}

function parseDump(argv: readonly string[]): Command {
  const { values, command } = parsed(argv, DUMP_OPTIONS)
  if (values.help) return { do: 'help', about: 'dump' }
  const { device, proxy, config, write, print = write === undefined, filter } = values
  if (device === undefined && (command.length === 0 || command[0] === '')) {
    throw new Complaint('there is nothing to look at: name a NIC (--device tun0) or a command to run')
  }
  if (device !== undefined && command.length > 0)
    throw new Complaint('--device looks at a NIC that is there: a command cannot be run in it')
  if (device !== undefined && (proxy ?? config) !== undefined) throw new Complaint('--proxy and --config are for a command')
  if (write === '-' && print) throw new Complaint('-w - and --print cannot share standard output')
  const count = values.count === undefined ? undefined : /^\d+$/.test(values.count) ? Number(values.count) : 0
  if (count !== undefined && !(Number.isSafeInteger(count) && count > 0)) throw new Complaint(`-c ${values.count}: not a number of packets`)
  return { do: 'dump', arguments: { command, device, proxy, config, write, print, filter, count } }
}

function parseDoctor(argv: readonly string[]): Command {
  const { values, command } = parsed(argv, DOCTOR_OPTIONS)
  if (values.help) return { do: 'help', about: 'doctor' }
  if (command.length > 0) throw new Complaint(`unexpected argument '${command[0]}'`)
  return { do: 'doctor', arguments: { json: values.json ?? false, config: values.config } }
}

function parsed<const O extends Options>(argv: readonly string[], options: O) {
  const end = endOfOptions(argv, options)
  const command = argv.slice(argv[end] === '--' ? end + 1 : end)
  const { values } = parseNodeArgs({ args: argv.slice(0, end), options, strict: true, allowPositionals: false })
  for (const [key, value] of Object.entries(values)) if (value === '') throw new Complaint(`--${key} needs a value`)
  return { values, command }
}

/** The index of `--` or of the first word that is neither an option nor an option's value. */
function endOfOptions(argv: readonly string[], options: Options): number {
  const takesValue = (word: string) =>
    Object.entries(options).some(([name, { type, short }]) => type === 'string' && (word === `--${name}` || word === `-${short}`))
  let i = 0
  while (i < argv.length && argv[i].startsWith('-') && argv[i] !== '-' && argv[i] !== '--') i += takesValue(argv[i]) ? 2 : 1
  return Math.min(i, argv.length)
}
