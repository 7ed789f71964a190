// The words for what keeps a ping socket from being opened. What open ones do: native/test/ping.test.ts.

import { expect, test, vi } from 'vitest'
import { openPing } from './ping-socket.js'

let failure: object = {}
vi.mock('@tun/native', async original => ({
  ...(await original<typeof import('@tun/native')>()),
  openPing: () => {
    throw Object.assign(new Error('native'), failure)
  },
}))

const failed = (how: object, options = {}) => {
  failure = how
  try {
    openPing({ family: 4, ...options }, { reply: () => {}, report: () => {} })
  } catch (error) {
    return error as Error & { code: string; hint?: string }
  }
  throw new Error('it was opened')
}

test('neither kind of socket is permitted: the hint names the sysctl', () => {
  const { code, hint, message } = failed({ code: 'EACCES', errno: -13, syscall: 'socket', detail: 'ping' })
  expect(code).toBe('ERR_TUN_PERMISSION')
  expect(hint).toContain("sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'")
  expect(message).toBe(`this user may open no ping socket (EACCES); ${hint}`)
})

test('source, NIC and mark are named; other systems have no pings', () => {
  expect(failed({ code: 'EADDRNOTAVAIL', errno: -99, syscall: 'bind' }, { localAddress: '192.0.2.1' }).message).toBe(
    'bind EADDRNOTAVAIL 192.0.2.1',
  )
  expect(failed({ code: 'ENODEV', errno: -19, syscall: 'setsockopt', detail: 'device' }, { device: 'nope0' })).toMatchObject({
    code: 'ENODEV',
    message: 'setsockopt ENODEV SO_BINDTODEVICE nope0',
  })
  expect(failed({ code: 'EPERM', errno: -1, syscall: 'setsockopt', detail: 'mark' }, { mark: 7 }).message).toContain('needs CAP_NET_ADMIN')
  expect(failed({ code: 'ERR_TUN_UNSUPPORTED_PLATFORM', syscall: 'openPing' }).code).toBe('ERR_TUN_UNSUPPORTED_PLATFORM')
})
