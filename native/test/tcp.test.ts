// What TcpSockets says of a connection that cannot be begun: outbounds make the words of an error of it. And several ranges in one call.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { constants } from 'node:os'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import native, { type NativeError, type TcpSockets } from '../index.cjs'

type Request = Parameters<TcpSockets['open']>

let opened: TcpSockets[] = []
afterEach(() => {
  for (const sockets of opened) sockets.close()
  opened = []
})

describe.skipIf(process.platform !== 'linux')('a TCP socket', () => {
  function refusal(...request: Request) {
    const sockets = native.openTcpSockets()
    opened.push(sockets)
    try {
      sockets.open(...request)
    } catch (error) {
      const { code, syscall, detail } = error as NativeError
      return [code, syscall, detail]
    }
    return undefined
  }

  it('says which step failed: a call of its own, or connect and what of it', () => {
    const to = [4, '127.0.0.1', 9] as const
    expect(refusal(...to, '192.0.2.1')).toEqual(['EADDRNOTAVAIL', 'bind', undefined])
    expect(refusal(...to, 'here')).toEqual(['EINVAL', 'bind', undefined])
    expect(refusal(...to, '', 'no-such-nic')).toEqual(['ENODEV', 'connect', 'device'])
    expect(refusal(...to, '', 'a-name-of-16-byt')).toEqual(['ENODEV', 'connect', 'device'])
    expect(refusal(4, '255.255.255.255', 9)).toEqual([expect.stringMatching(/^E(ACCES|NETUNREACH)$/), 'connect', 'connect'])
  })

  it('wants an address, of its own family, and knows a NIC behind % in those of IPv6 only', () => {
    const wrong: Request[] = [
      [4, '', 9],
      [6, '', 9],
      [6, '%lo', 9],
      [4, '::1', 9],
      [6, '127.0.0.1', 9],
      [4, '127.0.0.1%lo', 9],
    ]
    for (const request of wrong) expect(refusal(...request)).toEqual(['EINVAL', 'connect', 'connect'])
    const beyond = refusal(6, 'fe80::1', 9) // without a NIC the kernel cannot know where
    if (beyond?.[0] !== 'EAFNOSUPPORT') expect(beyond).toEqual([expect.stringMatching(/^E(INVAL|NETUNREACH)$/), 'connect', 'connect'])
    expect(refusal(6, 'fe80::1%lo', 9)).not.toEqual(['EINVAL', 'connect', 'connect'])
  })

  it('that is closed refuses, and opens nothing', () => {
    const sockets = native.openTcpSockets()
    sockets.close()
    expect(() => sockets.open(4, '127.0.0.1', 9)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'connect', detail: 'connect' }))
  })

  describe('sends several ranges in one call', () => {
    async function connected(): Promise<[sockets: TcpSockets, slot: number, peer: Socket]> {
      const server = createServer()
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const accepted = once(server, 'connection')
      const sockets = native.openTcpSockets()
      opened.push(sockets)
      const slot = sockets.open(4, '127.0.0.1', (server.address() as AddressInfo).port)
      const [peer] = (await accepted) as [Socket]
      server.close()
      return [sockets, slot, peer.on('error', () => {})]
    }

    it('one behind the other, empty ones among them; of none and of a closed one it says so', async () => {
      const [sockets, slot, peer] = await connected()
      const letters = new TextEncoder().encode('abcdefgh')
      expect(sockets.sendRanges(slot, [letters, letters, letters, letters], Int32Array.of(2, 4, 8, 8, 0, 1, 7, 8), 4)).toBe(4)
      expect(sockets.sendRanges(slot, [letters], Int32Array.of(0, 8), 0)).toBe(0)
      expect(sockets.sendRanges(slot + 1, [letters], Int32Array.of(0, 8), 1)).toBe(-constants.errno.EBADF)
      const [got] = await once(peer, 'data')
      expect(String(got)).toBe('cdah')
      sockets.closeSocket(slot, false)
      expect(sockets.sendRanges(slot, [letters], Int32Array.of(0, 8), 1)).toBe(-constants.errno.EBADF)
      peer.destroy()
    })

    it('as much of them as the kernel takes, the middle of one included', async () => {
      const [sockets, slot, peer] = await connected()
      const chunks = Array.from({ length: 64 }, (_, i) => new Uint8Array(65_521).fill(i + 1))
      const bounds = Int32Array.from({ length: 128 }, (_, i) => (i % 2) * 65_521)
      const whole = 64 * 65_521
      let [taken, length, n] = [0, 0, whole]
      peer.pause()
      for (; n === whole; taken += Math.max(n, 0)) n = sockets.sendRanges(slot, chunks, bounds, 64)
      expect(taken).toBeGreaterThan(0)
      peer.on('data', chunk => {
        for (const byte of chunk) if (byte !== 1 + Math.floor((length++ % whole) / 65_521)) throw new Error(`byte ${length} is another's`)
      })
      peer.resume()
      while (length < taken) await turn()
      expect(length).toBe(taken)
      peer.destroy()
    })

    it('and refuses what lies outside of them, too many, and other types', async () => {
      const [sockets, slot, peer] = await connected()
      const bytes = new Uint8Array(8)
      const gone = new Uint8Array(8)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      const all = Array.from({ length: 65 }, () => bytes)
      const wrong: unknown[][] = [
        [[bytes], Int32Array.of(0, 9), 1],
        [[bytes], Int32Array.of(-1, 4), 1],
        [[bytes], Int32Array.of(5, 4), 1],
        [[bytes], Int32Array.of(0), 1],
        [[bytes], Int32Array.of(0, 8, 0, 8), 2],
        [all, new Int32Array(130), 65],
        [[gone], Int32Array.of(0, 8), 1],
        [[new Int32Array(8)], Int32Array.of(0, 8), 1],
        [[bytes], new Uint8Array(8), 1],
        [bytes, Int32Array.of(0, 8), 1],
        [[bytes], Int32Array.of(0, 8), -1],
        [[bytes], Int32Array.of(0, 8)],
      ]
      const send = sockets.sendRanges.bind(sockets, slot) as (...args: unknown[]) => number
      for (const args of wrong) expect(() => send(...args)).toThrow(expect.objectContaining({ code: 'ERR_TUN_BUFFER' }))
      expect(sockets.sendRanges(slot, all, new Int32Array(130), 64)).toBe(0)
      peer.destroy()
    })
  })
})
