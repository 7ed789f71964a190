// Owns: the command line.

import { homedir } from 'node:os'
import { resolve } from 'node:path'

export const USAGE = `Usage: clash-proxy [-f config.yaml] [-d directory] [-t] [--user NAME[:GROUP]]

  -f FILE   the configuration (default: config.yaml), relative to -d
  -d DIR    where files are looked for (default: the current directory)
  -t        check the configuration and exit: 0 if it is good
  --user NAME[:GROUP]
            become this user, for good, once the TUN and the ports are open; needs root to start with
  -v        print the version
  -h        print this

Examples:
  sudo clash-proxy -f config.yaml                 makes the TUN, goes on as root
  sudo clash-proxy -f config.yaml --user nobody   makes the TUN, goes on with nobody's rights
  clash-proxy -f config.yaml                      a TUN that exists and is this user's
  tun doctor --config config.yaml                 if it does not start: what is missing on this machine`

export type Command =
  | { do: 'run' | 'check'; file: string; user?: string }
  | { do: 'help' | 'version' }
  | { do: 'complain'; message: string }

const NEEDS = { '-f': 'file', '-d': 'directory', '--user': 'name' }

const complain = (message: string): Command => ({ do: 'complain', message: `${message} (-h shows the options)` })

export function parseArgs(argv: readonly string[], cwd = process.cwd()): Command {
  let file = 'config.yaml'
  let directory = cwd
  let check = false
  let user: string | undefined
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
      case '-d':
      case '--user': {
        const value = argv[++i]
        if (!value) return complain(`${flag} needs a ${NEEDS[flag]}`)
        if (flag === '-f') file = value
        else if (flag === '--user') user = value
        else directory = resolve(cwd, value.replace(/^~(?=$|\/)/, homedir()))
        break
      }
      default:
        return complain(flag.startsWith('-') ? `unknown option ${flag}` : `unexpected argument "${flag}"`)
    }
  }
  return { do: check ? 'check' : 'run', file: resolve(directory, file), user }
}
