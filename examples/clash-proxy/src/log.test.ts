import { expect, test } from 'vitest'
import { createLog } from './log.js'

test('a line has time, level and the message on one line', () => {
  const lines: string[] = []
  createLog(
    'info',
    line => lines.push(line),
    () => new Date(0),
  ).info?.('[TCP] "a"\n--> b')
  expect(lines).toEqual(['time="1970-01-01T00:00:00.000Z" level=info msg="[TCP] \\"a\\"\\n--> b"\n'])
})

test('what is off builds no text', () => {
  const log = createLog('warning', () => {})
  let built = 0
  const text = () => String(built++)
  log.info?.(text())
  log.debug?.(text())
  log.warning?.(text())
  log.error?.(text())
  expect(built).toBe(2)
  expect(createLog('silent', () => {}).error).toBeUndefined()
})
