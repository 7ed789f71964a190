// Owns: a text to a descriptor, all of it: a pipe that another program has made non-blocking takes what it has room for. write(2), pipe(7).

import { writeSync } from 'node:fs'

const RETRY = 10 // ms

/** Waits for a slow reader. Answers the code of what failed. */
export function writeAll(fd: number, text: string, write: (fd: number, bytes: Uint8Array) => number = writeSync): string | undefined {
  for (let rest = Buffer.from(text); rest.length > 0; ) {
    try {
      rest = rest.subarray(write(fd, rest))
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException
      if (code !== 'EAGAIN') return code
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY)
    }
  }
  return undefined
}
