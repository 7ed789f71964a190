// Owns: Node's event loop as a Host: monotonic clock, timers that keep no process alive by themselves.

import { performance } from 'node:perf_hooks'
import type { Host } from './driver.js'
import { throwLater } from './errno.js'

/** setTimeout turns anything longer into 1 ms. */
const LONGEST_TIMER = 2 ** 31 - 1

export const nodeHost: Host = {
  now: () => performance.now(),
  wall: () => Date.now(),
  soon: fn => {
    setImmediate(fn)
  },
  // Rounded up: a timer that fires before its deadline would be armed again at once.
  setTimer: (fn, delay) => setTimeout(fn, Math.min(Math.ceil(delay), LONGEST_TIMER)).unref(),
  clearTimer: timer => clearTimeout(timer as NodeJS.Timeout),
  // As an exception in any other callback: 'uncaughtException', or the end of the process.
  raise: throwLater,
}
