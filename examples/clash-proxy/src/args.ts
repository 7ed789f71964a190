// Owns: the command line.

import { homedir } from 'node:os'
import { resolve } from 'node:path'

export const USAGE = `Usage: clash-proxy [-f config.yaml] [-d directory] [-t]

  -f FILE   the configuration (default: config.yaml), relative to -d
  -d DIR    where files are looked for (default: the current directory)
  -t        check the configuration and exit: 0 if it is good
  -v        print the version
  -h        print this`

export type Command = { do: 'run' | 'check'; file: string } | { do: 'help' | 'version' } | { do: 'complain'; message: string }

const complain = (message: string): Command => ({ do: 'complain', message: `${message} (-h shows the options)` })

export function parseArgs(argv: readonly string[], cwd = process.cwd()): Command {
  let file = 'config.yaml'
  let directory = cwd
  let check = false
  for (let i = 0; i < argv.length; i++) {
    const flag = argv[i]
    switch (flag) {
      case '-h':
      case '--help':
        return { do: 'help' }
      case '-v':
      case '--version':
        return { do: 'version' }
      case '-t':
        check = true
        break
      case '-f':
      case '-d': {
        const value = argv[++i]
        if (!value) return complain(`${flag} needs a ${flag === '-f' ? 'file' : 'directory'}`)
        if (flag === '-f') file = value
        else directory = resolve(cwd, value.replace(/^~(?=$|\/)/, homedir()))
        break
      }
      default:
        return complain(flag.startsWith('-') ? `unknown option ${flag}` : `unexpected argument "${flag}"`)
    }
  }
  return { do: check ? 'check' : 'run', file: resolve(directory, file) }
}
