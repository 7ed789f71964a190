import { expect, it } from 'vitest'
import { writeAll } from './write-all.js'

const failing = (code: string) => Object.assign(new Error(code), { code })

it('what a non-blocking pipe has no room for waits until it has: nothing is lost', () => {
  const taken: Uint8Array[] = []
  let turn = 0
  const write = (_fd: number, bytes: Uint8Array) => {
    if (turn++ % 2 === 0) throw failing('EAGAIN')
    const part = bytes.slice(0, 3)
    taken.push(part)
    return part.length
  }
  expect(writeAll(1, 'a report, ünd more\n', write)).toBeUndefined()
  expect(Buffer.concat(taken).toString()).toBe('a report, ünd more\n')
})

it('what cannot be written is told', () => {
  const write = () => {
    throw failing('ENOSPC')
  }
  expect(writeAll(1, 'x', write)).toBe('ENOSPC')
})
