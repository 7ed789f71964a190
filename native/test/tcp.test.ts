// What TcpSockets says of a connection that cannot be begun: outbounds make the words of an error of it.

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
})
