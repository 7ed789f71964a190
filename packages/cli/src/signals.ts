// Owns: signals for tun are signals for the command. Ctrl-C is not among them: the terminal sends it to the whole foreground
// process group, the command included, and a second one would kill what the first asked to end. credentials(7), tty_ioctl(4).

import { readFileSync } from 'node:fs'

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']

/** Until the answer is called. None of them ends this process any more. */
export function forwardSignals(kill: (signal: NodeJS.Signals) => void): () => void {
  const forward = (signal: NodeJS.Signals) => {
    if (FROM_TERMINAL.includes(signal) && isForeground()) return
    try {
      kill(signal)
    } catch {} // the command has just ended
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}

/** Is our process group the one that the terminal talks to? Fields pgrp, session, tty_nr, tpgid of proc_pid_stat(5). */
function isForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return terminal !== '0' && group === foreground
  } catch {
    return false
  }
}
