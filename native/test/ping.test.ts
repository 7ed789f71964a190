// Ping sockets, in network namespaces: what they are permitted there, and whom they ask, is the test's own affair.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import native from '../index.cjs'
import { missing } from './namespace.js'

const scenarios = fileURLToPath(new URL('./ping-scenarios.mjs', import.meta.url))

describe.skipIf(missing() !== '')(`a ping socket ${missing()}`, () => {
  const inNamespace = async (scenario: string) => {
    const command = `ip link set lo up; exec "${process.execPath}" "${scenarios}" ${scenario}`
    const { stdout } = await promisify(execFile)('unshare', ['-nm', 'sh', '-c', command], { timeout: 40_000 })
    return JSON.parse(stdout)
  }

  it('is answered what it asked, of either kind and family, and nothing that another one asked', async () => {
    const results = await inNamespace('answers')
    expect(Object.keys(results)).toEqual(['4 ping', '6 ping', '4 raw', '6 raw'])
    for (const [kind, { refused, a, b }] of Object.entries<{ refused: unknown[]; a: unknown[]; b: unknown[] }>(results)) {
      const from = kind.startsWith('6') ? '::1' : '127.0.0.1'
      expect([kind, refused, a, b]).toEqual([
        kind,
        [null, null],
        [
          [1, from, 3, 'one', 64],
          [65535, from, 0, '', 64],
          [3, from, 60_000, 'xxxxxxxx', 64],
        ],
        [[2, from, 3, 'two', 64]],
      ])
    }
  })

  it('is told by ICMP which ping failed, and who says so; the next one is not disturbed', async () => {
    const report = { type: 3, code: 1, from: '10.9.0.1', mtu: 0, ttl: expect.any(Number) }
    const told = [
      [5, '10.9.0.7', report],
      [6, '127.0.0.1', 5, 'found', 64],
    ]
    expect(await inNamespace('reports')).toEqual({ ping: { told }, raw: { told } })
  })

  it('leaves by its NIC and with its mark; what cannot be is an errno', async () => {
    expect(await inNamespace('bound')).toEqual({
      plain: 'EACCES',
      byMark: 'left',
      byDevice: 'left',
      noDevice: 'ENODEV',
      noAddress: 'EADDRNOTAVAIL',
      otherFamily: 'EAFNOSUPPORT',
      noHost: 'EINVAL',
      tooLarge: ['EMSGSIZE', 'EBADF'],
    })
  })

  it('that nobody permits is an error that says what would', async () => {
    expect(await inNamespace('forbidden')).toEqual({
      code: 'ERR_TUN_PERMISSION',
      hint: expect.stringContaining('net.ipv4.ping_group_range'),
    })
  })

  it('takes no detached or short array, and no number that is none, however it is called', () => {
    const ping = native.openPing({ family: 4 })
    try {
      const result = new Int32Array(13)
      const detached = new Uint8Array(64)
      structuredClone(detached.buffer, { transfer: [detached.buffer] })
      const calls = [
        () => ping.receive(detached, result),
        () => ping.receive(new Uint8Array(64), new Int32Array(12)),
        () => ping.report(new Uint8Array(0), result),
        () => ping.send(new Int32Array(3), 1, 0, new Uint8Array(1)),
        () => ping.send(new Int32Array(4), 65_536, 0, new Uint8Array(1)),
        () => ping.send(new Int32Array(4), 1, 256, new Uint8Array(1)),
        () => ping.send(new Int32Array(4), 1, 0, 'x' as never),
      ]
      for (const call of calls) expect(call).toThrow(expect.objectContaining({ code: 'ERR_TUN_BUFFER' }))
      expect(() => native.openPing({ family: 5 as never })).toThrow(TypeError)
      expect(() => native.openPing({ family: 4, device: 'a\0b' })).toThrow(TypeError)
    } finally {
      ping.close()
      ping.close()
    }
    expect(ping.receive(new Uint8Array(64), new Int32Array(13))).toBe(false)
    expect(() => ping.watch(1, () => {})).not.toThrow()
  })
})
