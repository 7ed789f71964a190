import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Paced } from './paced.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

test('what takes 100 ms is done at once, then once for all who ask in the next 900 ms: never more than a tenth of the time', () => {
  const runs: number[] = []
  const begin = performance.now()
  const paced = new Paced(() => {
    runs.push(performance.now() - begin)
    vi.advanceTimersByTime(100)
  })
  for (let i = 0; i < 80; i++) {
    paced.ask()
    vi.advanceTimersByTime(10)
  }
  expect(runs).toEqual([0])
  vi.advanceTimersByTime(5000)
  expect(runs).toEqual([0, 1000]) // and nobody asked again
  paced.ask()
  expect(runs.length).toBe(3)
})

test('what costs nothing waits for nobody, and nothing is done behind stop()', () => {
  let runs = 0
  const quick = new Paced(() => runs++)
  for (let i = 0; i < 5; i++) quick.ask()
  expect(runs).toBe(5)
  const slow = new Paced(() => {
    runs++
    vi.advanceTimersByTime(10)
  })
  slow.ask()
  slow.ask()
  slow.stop()
  vi.advanceTimersByTime(1000)
  expect(runs).toBe(6)
})
