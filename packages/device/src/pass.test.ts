import { closeSync, writeSync } from 'node:fs'
import { socketpair } from '@tun/native'
import { expect, it } from 'vitest'
import { openTun } from './open.js'
import { receiveTun, sendTun } from './pass.js'

it('a device goes over a socket and is a device there', () => {
  const [here, there] = socketpair('stream')
  const [end, other] = socketpair('seqpacket')
  const sent = openTun(`fd://${end}`)
  sendTun(here, sent)
  sent.close()
  const device = receiveTun(there, { mtu: 1280 })
  expect(device).toMatchObject({ kind: 'socket', mtu: 1280 })
  expect(device.fd).toBeGreaterThan(2)
  device.close()
  expect(device.fd).toBe(-1)
  for (const fd of [here, there, other]) closeSync(fd)
})

it('what comes instead of a device is named, and closed', () => {
  const [here, there] = socketpair('stream')
  sendTun(here, 0) // the test's own standard input: no TUN
  expect(() => receiveTun(there)).toThrow(expect.objectContaining({ code: 'ERR_TUN_NOT_A_TUN' }))
  writeSync(here, 'x')
  expect(() => receiveTun(there)).toThrow(`socket ${there}: the other side sent bytes without a descriptor`)
  expect(() => receiveTun(there, { timeoutMs: 10 })).toThrow('no descriptor came in time')
  closeSync(here)
  expect(() => receiveTun(there)).toThrow(
    expect.objectContaining({ code: 'ERR_TUN_PASSING', message: expect.stringContaining('closed it') }),
  )
  closeSync(there)
  expect(() => receiveTun(there)).toThrow(expect.objectContaining({ code: 'ERR_TUN_PASSING' }))
})
