// The addon against the Linux kernel: a TUN in a namespace of its own, as root.

import { beforeAll, describe, expect, it } from 'vitest'
import { type Facts, inNamespace, missing } from './namespace.js'
import { CSUM_BAD, CSUM_GOOD, CSUM_PARTIAL, DOWN, GONE, GSO_TCP4, OK } from './packets.mjs'

const reason = missing()
if (reason && process.env.TUN_REQUIRE === 'all') throw new Error(reason)

describe.skipIf(reason)(`a TUN of the kernel${reason ? ` (skipped: ${reason})` : ''}`, () => {
  describe('offload is state of the NIC and is put back', () => {
    let result: Facts
    beforeAll(async () => {
      result = await inNamespace('offloadReset')
    })

    it('takes all offloads of a pre-created NIC, whose packets then come with unfinished checksums', () => {
      expect(result.negotiated).toMatchObject({ offload: true, created: false, persistent: true })
      expect(result.negotiated.set & 0x07).toBe(0x07)
      expect(result.withOffload).toMatchObject({ flags: CSUM_PARTIAL, csumStart: 20, csumOffset: 6, verified: CSUM_BAD })
      expect(result.withOffload.start % 16).toBe(0)
    })

    it('leaves a NIC whose next user gets finished checksums and a header of 10 bytes', () => {
      expect(result.nextUser).toEqual({ headerSize: 10, verified: CSUM_GOOD })
      expect(result.stays).toBe(true)
    })

    it('sets everything at open, so that a user killed before us leaves no trace', () => {
      expect(result.afterKill).toMatchObject({ flags: CSUM_GOOD, verified: CSUM_GOOD })
    })
  })

  it('carries UDP both ways, IPv4 and IPv6, with and without offload', async () => {
    const results = await inNamespace('udpBothWays')
    expect(results.map((r: Facts) => [r.offload, r.family])).toEqual([
      [true, 4],
      [true, 6],
      [false, 4],
      [false, 6],
    ])
    for (const result of results) {
      expect(result).toMatchObject({ done: 1, status: OK, same: true, port: 6000 })
      expect(result.out.flags).toBe(result.offload ? CSUM_PARTIAL : CSUM_GOOD)
    }
  })

  it('cuts a UDP row into datagrams of gsoSize, in the kernel or in the addon', async () => {
    const results = await inNamespace('udpSegments')
    expect(results).toHaveLength(4)
    for (const result of results) expect(result).toMatchObject({ status: OK, refused: 0, sizes: [1000, 1000, 1000, 1000, 321], same: true })
  })

  it('delivers a TCP row of 20,001 bytes with FIN to a socket of the kernel, cut by it or by the addon', async () => {
    const results = await inNamespace('tcpSegments')
    expect(results).toHaveLength(4)
    for (const result of results) expect(result).toMatchObject({ status: OK, refused: 0, done: true, same: true })
  })

  it('reads a super-segment as one row', async () => {
    const row = await inNamespace('kernelSegments')
    expect(row).toMatchObject({ gsoType: GSO_TCP4, flags: CSUM_PARTIAL, csumStart: 20, csumOffset: 16 })
    expect(row.bytes).toBeGreaterThan(row.gsoSize + 40)
  })

  it('drops rows for a NIC that is down, stays asleep, and is writable when it comes up', async () => {
    const result = await inNamespace('downAndUp')
    expect(result).toMatchObject({ done: 2, written: DOWN, read: 1, isUp: false, callsDown: 0, writableWhenUp: true, upAfter: true })
  })

  it('ends with GONE when the NIC is deleted, and never spins', async () => {
    expect(await inNamespace('deleted')).toEqual({ status: GONE, few: true, after: 0, done: 0, written: GONE })
  })

  it('closes a descriptor that was given to it and no other', async () => {
    const result = await inNamespace('ownership')
    expect(result.borrow).toEqual({ name: 'tun0', offload: true, open: 1, partial: true, left: 1 })
    expect(result.dup).toEqual({ name: 'tun0', offload: true, open: 2, partial: true, left: 1 })
    expect(result.nonBlocking).toBe(true)
    expect(result.take).toEqual({ left: 0 })
  })

  it('leaves the NIC of whom it was handed to as it is', async () => {
    expect(await inNamespace('handedOver')).toEqual({ name: 'tun0', partial: true, left: 0 })
  })

  it('asks and configures an inherited NIC in its own network namespace', async () => {
    expect(await inNamespace('otherNamespace')).toEqual({ there: { name: 'same0', mtu: 1300, isUp: true, created: false }, here: '1500' })
  })

  it('says what a NIC is that it cannot have, and what it may not do to one of somebody else', async () => {
    expect(await inNamespace('foreignNics')).toEqual({
      tap: 'EINVAL TUNSETIFF tap',
      multiQueue: 'EINVAL TUNSETIFF tun',
      loopback: 'EINVAL TUNSETIFF other',
      busy: 'EBUSY TUNSETIFF tun',
      mtu: 'EINVAL SIOCSIFMTU',
      fd: 'opened',
      create: 'EPERM TUNSETIFF',
      owned: { mtu: 1500, mtuDenied: true, created: false, isUp: false },
      root: { mtu: 1280, mtuDenied: false, isUp: true },
    })
  })
})
