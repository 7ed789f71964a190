// Owns: signals for tun are signals for the command, but for those of a key: the terminal sends Ctrl-C to the whole foreground process
// group, the command included, and a second one would kill what the first asked to end. credentials(7), tty_ioctl(4), sigaction(2).

import { constants } from 'node:os'
import { countSenders, takeSenders } from '@tun/native'

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']
/** npm and npx hand on to us what the terminal has just sent to all of us. */
const ECHO = 1000 // ms

/** Until the answer is called. None of them ends this process any more. */
export function forwardSignals(kill: (signal: NodeJS.Signals) => void): () => void {
  const sender = new SenderWatch()
  const forward = (signal: NodeJS.Signals) => {
    if (FROM_TERMINAL.includes(signal) && !sender.isProcess(signal)) return
    try {
      kill(signal)
    } catch {} // the command has just ended
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  for (const signal of FROM_TERMINAL) countSenders(constants.signals[signal])
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}

/** Who sent the signals that have come: a key, that is, the kernel, or a process. */
export class SenderWatch {
  private keyAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly take: typeof takeSenders = takeSenders,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** A process means this one alone: the command is to be told. A process that hands on a key's signal does not. */
  isProcess(signal: NodeJS.Signals): boolean {
    const [kernel, processes] = this.take(constants.signals[signal])
    if (kernel > 0) this.keyAt = this.now()
    return processes > 0 && this.now() - this.keyAt >= ECHO
  }
}
