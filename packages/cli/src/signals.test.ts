import { expect, it } from 'vitest'
import { SenderWatch } from './signals.js'

it('tells a process from a key, and from a process that hands a key’s signal on', () => {
  let senders: [kernel: number, processes: number] = [0, 0]
  let now = 5000
  const watch = new SenderWatch(
    () => senders,
    () => now,
  )
  const isProcess = (kernel: number, processes: number) => {
    senders = [kernel, processes]
    return watch.isProcess('SIGINT')
  }
  expect(isProcess(0, 1)).toBe(true)
  expect(isProcess(1, 0)).toBe(false)
  now += 999
  expect(isProcess(0, 1)).toBe(false)
  now += 1
  expect(isProcess(0, 1)).toBe(true)
  expect(isProcess(1, 1)).toBe(false) // both before Node told of the first
  expect(isProcess(0, 0)).toBe(false)
})
