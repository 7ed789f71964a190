// Owns: the program `tun`: what it says and its exit code. Every failure is a line on stderr, with the cure on a line of its own.

import { writeSync } from 'node:fs'
import { parseArgs } from './args.js'
import { doctor } from './doctor/doctor.js'
import { dump } from './dump.js'
import { EXIT, exec, exitCodeOf } from './exec.js'
import { USAGE, VERB_USAGE } from './usage.js'
import { writeAll } from './write-all.js'

/** Set by tsup from package.json. */
declare const VERSION: string

/** Answers the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const command = parseArgs(argv)
  switch (command.do) {
    case 'help':
      return print(command.about === undefined ? USAGE : VERB_USAGE[command.about])
    case 'version':
      return print(`tun ${VERSION}`)
    case 'complain':
      say(command.message)
      return EXIT.failed
    case 'doctor': {
      let printed = 0
      const code = doctor(command.arguments, text => {
        printed = print(text)
      })
      return printed === 0 ? code : printed
    }
  }
  try {
    return command.do === 'exec' ? await exec(command.arguments, say) : await dump(command.arguments, say, `tun ${VERSION}`)
  } catch (error) {
    for (const line of describe(error)) say(line)
    return exitCodeOf(error) ?? EXIT.failed
  }
}

/** What happened; then what helps, on a line of its own to be copied from. */
function describe(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)]
  const { message, hint } = error as Error & { hint?: string }
  if (hint === undefined || !message.endsWith(`; ${hint}`)) return message.split('\n')
  return [message.slice(0, -hint.length - 2), hint]
}

/** Not by process.stderr: see exec.ts. Whoever does not read it does not stop the command. */
function say(line: string): void {
  try {
    writeSync(2, `tun: ${line}\n`)
  } catch {}
}

/** Answers the exit code. That nobody reads any more is no failure; a full disk is. */
function print(text: string): number {
  const code = writeAll(1, `${text}\n`)
  if (code === undefined || code === 'EPIPE') return 0
  say(`standard output cannot be written (${code})`)
  return EXIT.failed
}
