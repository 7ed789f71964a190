import { networkInterfaces } from 'node:os'
import { type EchoAnswer, HANDLED, PASS, type TunEcho } from '@tun/stack'
import { describe, expect, test, vi } from 'vitest'
import { defaultMaxUdpFlows, descriptorLimit } from './descriptor-limit.js'
import { LocalAddresses } from './local-addresses.js'
import { until, type World, world } from './world.test-kit.js'

vi.mock('node:os', async original => {
  const os = await original<typeof import('node:os')>()
  return { ...os, networkInterfaces: vi.fn(os.networkInterfaces) }
})

/** What the application that pings is told: type and code. */
async function pinged(w: World, address: string): Promise<string> {
  w.ping(address)
  const { type, code } = await w.icmpError()
  return `${type}/${code}`
}

const ANSWER = '0/0'
const ANSWER6 = '129/0'
const PROHIBITED = '3/13'

describe('a ping', () => {
  test('is answered for the gateway, what is listened on by address or prefix, and the DNS server; others are refused', async () => {
    await using w = await world({ tun: { 'dns-listen': '198.18.0.3:53' } })
    w.inbound.listen({ port: 80 }, () => {})
    const service = w.inbound.listen({ address: '203.0.113.0/24', port: 80 }, () => {})
    w.inbound.listenDatagrams({ address: '2001:db8::7', port: 9 }, () => {})
    expect(await pinged(w, '192.0.0.8')).toBe(ANSWER)
    expect(await pinged(w, 'fe80::1')).toBe(ANSWER6)
    expect(await pinged(w, '203.0.113.200')).toBe(ANSWER)
    expect(await pinged(w, '2001:db8::7')).toBe(ANSWER6)
    expect(await pinged(w, '198.18.0.3')).toBe(ANSWER)
    expect(await pinged(w, '192.0.2.1')).toBe(PROHIBITED) // all addresses have port 80 here, and yet: who knows whether it is there
    expect(await pinged(w, '2001:db8::8')).toBe('1/1')
    service.close()
    expect(await pinged(w, '203.0.113.200')).toBe(PROHIBITED)
  })

  test('waits for a name that other gateways are asked for, 256 at most: a store that is slow does not fill this process', async () => {
    await using w = await world({ tun: { 'dns-listen': '198.18.0.3:53' } })
    const seen: number[] = []
    const answers: ((named: undefined) => void)[] = []
    const { names } = w.inbound as unknown as { names: { find(address: string): unknown } }
    names.find = () => new Promise(resolve => void answers.push(resolve))
    w.inbound.on('icmp', echo => {
      seen.push(echo.sequence)
      echo.ignore()
    })
    for (let i = 1; i <= 300; i++) w.ping('192.0.2.1', '', i)
    await until(() => answers.length === 300)
    for (const answer of answers.splice(0)) answer(undefined)
    await until(() => seen.length > 0)
    expect([seen.length, seen.at(-1)]).toEqual([256, 256])
    w.ping('192.0.2.1', '', 301)
    await until(() => answers.length === 1)
    answers[0](undefined)
    await until(() => seen.length === 257)
  })

  test("to anybody else is an 'icmp' event: reply, unreachable, ignore; who decides first has decided", async () => {
    await using w = await world()
    const seen: TunEcho[] = []
    w.inbound.on('icmp', echo => {
      seen.push(echo)
      const last = echo.destination.address.split('.').at(-1)
      if (last === '1') echo.reply()
      if (last === '2') echo.reply(Buffer.from('other'))
      if (last === '3') echo.unreachable()
      if (last === '4') echo.unreachable('net-unreachable')
      if (last === '5') echo.ignore()
      echo.unreachable('prohibited')
      expect(echo.reply()).toBe(false)
    })
    w.ping('192.0.2.1', 'hello', 7)
    expect([await w.icmpError(), w.echoed]).toEqual([{ type: 0, code: 0 }, 'hello'])
    const [{ source, destination, id, sequence, ttl, payload }] = seen
    expect({ source, destination, id, sequence, ttl, payload: String(payload) }).toEqual({
      source: { address: '10.0.0.1', family: 4 },
      destination: { address: '192.0.2.1', family: 4 },
      id: 77,
      sequence: 7,
      ttl: 64,
      payload: 'hello',
    })
    w.ping('192.0.2.2')
    expect([await w.icmpError(), w.echoed]).toEqual([{ type: 0, code: 0 }, 'other'])
    expect([await pinged(w, '192.0.2.3'), await pinged(w, '192.0.2.4')]).toEqual(['3/1', '3/0'])
    w.ping('192.0.2.5')
    expect(await pinged(w, '192.0.2.6')).toBe(PROHIBITED)
    expect(w.icmp).toEqual([])
  })

  test('is forwarded: what the carrier finds is what the application sees', async () => {
    await using w = await world()
    const failure = (code: string) => Object.assign(new Error(code), { code })
    const carriers: Record<string, () => unknown> = {
      '192.0.2.1': () => true,
      '192.0.2.2': () => Promise.resolve(Buffer.from('its own')),
      '192.0.2.3': () => Promise.reject(failure('EHOSTUNREACH')),
      '192.0.2.4': () => Promise.reject(failure('ENETUNREACH')),
      '192.0.2.5': () => Promise.reject(failure('ETIMEDOUT')),
      '192.0.2.6': () => false,
    }
    const done: string[] = []
    w.inbound.on('icmp', async echo => {
      const { address } = echo.destination
      const forwarded = echo.forward(carriers[address] as () => Promise<boolean>)
      expect([echo.reply(), echo.decided]).toEqual([false, false]) // it is under way
      await forwarded
      expect(echo.decided).toBe(true)
      done.push(address)
    })
    w.ping('192.0.2.5')
    w.ping('192.0.2.6')
    w.ping('192.0.2.1')
    expect([await w.icmpError(), w.echoed]).toEqual([{ type: 0, code: 0 }, 'ping'])
    w.ping('192.0.2.2')
    expect([await w.icmpError(), w.echoed]).toEqual([{ type: 0, code: 0 }, 'its own'])
    expect([await pinged(w, '192.0.2.3'), await pinged(w, '192.0.2.4')]).toEqual(['3/1', '3/0'])
    await until(() => done.length === 6)
    expect(w.icmp).toEqual([])
  })

  test('is forwarded: an answer keeps its hop limit, what the path reported comes from who did; forward() says what failed', async () => {
    await using w = await world()
    const packets: { ttl: number; from: string }[] = []
    const { ondeliver } = w.nic
    w.nic.ondeliver = (packet, offload) => {
      packets.push({ ttl: packet[8], from: packet.subarray(12, 16).join('.') })
      ondeliver(packet, offload)
    }
    const failure = Object.assign(new Error('no'), { report: { type: 11, code: 0, from: '203.0.113.7', ttl: 62 } })
    const odd = Object.assign(new Error('no'), { report: { type: 3, code: 1, from: '127.0.0.1' } })
    const forbidden = Object.assign(new Error('no'), { code: 'ERR_TUN_PERMISSION' })
    const carriers: (() => Promise<EchoAnswer>)[] = [
      async () => ({ payload: Buffer.from('far'), ttl: 57 }),
      async () => Promise.reject(failure),
      async () => Promise.reject(odd),
      async () => Promise.reject(forbidden),
    ]
    const failures: unknown[] = []
    w.inbound.on('icmp', async echo => failures.push(await echo.forward(carriers.shift()!)))
    const answers: unknown[] = []
    for (let i = 0; i < 4; i++) {
      w.ping('192.0.2.1', 'near')
      answers.push(await w.icmpError())
    }
    expect(answers).toEqual([
      { type: 0, code: 0 },
      { type: 11, code: 0 },
      { type: 3, code: 1 },
      { type: 3, code: 13 },
    ])
    expect(packets).toEqual([
      { ttl: 57, from: '192.0.2.1' },
      { ttl: 61, from: '203.0.113.7' },
      { ttl: 64, from: '192.0.0.8' },
      { ttl: 64, from: '192.0.2.1' },
    ])
    expect(failures).toEqual([undefined, failure, odd, forbidden])
  })

  test('has a signal, which aborts when the inbound closes', async () => {
    const w = await world()
    const seen: TunEcho[] = []
    w.inbound.on('icmp', echo => void seen.push(echo))
    w.ping('192.0.2.1')
    await until(() => seen.length === 1)
    expect(seen[0].signal.aborted).toBe(false)
    await w[Symbol.asyncDispose]()
    expect(seen[0].signal.reason).toMatchObject({ code: 'ECONNABORTED' })
  })

  test('a listener that throws, now or later, has it refused, and is reported with the ping', async () => {
    await using w = await world()
    const errors: unknown[] = []
    w.inbound.on('error', error => errors.push(error.message, (error.flow as TunEcho).destination.address))
    w.inbound.once('icmp', () => {
      throw new Error('now')
    })
    expect(await pinged(w, '192.0.2.1')).toBe(PROHIBITED)
    w.inbound.once('icmp', async () => {
      await null
      throw new Error('later')
    })
    expect(await pinged(w, '192.0.2.2')).toBe(PROHIBITED)
    expect(errors).toEqual(['now', '192.0.2.1', 'later', '192.0.2.2'])
  })

  test('to a fake IP has the name behind it; to one that nobody was told, there is no host', async () => {
    await using w = await world({ tun: { 'dns-listen': '0.0.0.0:53' } })
    const { fakeIp } = (w.inbound as unknown as { names: { fakeIp: { lookup(name: string, family: 4): string } } }).names
    const fake = fakeIp.lookup('a.test', 4)
    const seen: TunEcho[] = []
    w.inbound.on('icmp', echo => {
      seen.push(echo)
      echo.reply()
    })
    expect(await pinged(w, fake)).toBe(ANSWER)
    expect(seen[0].destination.host).toBe('a.test')
    expect(await pinged(w, '198.18.77.7')).toBe('3/1')
    expect(seen).toHaveLength(1)
  })

  test('the addresses of our own NIC are asked for once a second, not once a ping', () => {
    const asked = vi.mocked(networkInterfaces)
    asked.mockClear()
    asked.mockImplementation(() => ({ tun9: [{ address: 'fe80::5%tun9' }, { address: '198.18.0.1' }] }) as never)
    const local = new LocalAddresses({ name: 'tun9' })
    for (let i = 0; i < 100; i++) expect(local.has(0, 0, 0xffff, 0xc6120001 | 0)).toBe(true)
    expect(local.has(0xfe800000 | 0, 0, 0, 5)).toBe(true)
    expect(local.has(0, 0, 0xffff, 0xc6120002 | 0)).toBe(false)
    expect(new LocalAddresses({ name: 'tun8' }).has(0, 0, 0xffff, 0xc6120001 | 0)).toBe(false)
    expect(asked).toHaveBeenCalledTimes(2)
    asked.mockReset()
  })
})

/** A GRE packet from the application to 192.0.2.9, and the other way. */
const GRE = Buffer.from('4500001800000000402faead0a000001c000020901020304', 'hex')
const BACK = Buffer.from('4500001800000000402faeadc00002090a00000104030201', 'hex')

describe("a 'packet' listener", () => {
  test('sees what comes before the stack, takes it, drops it, answers it; without one the stack speaks', async () => {
    await using w = await world()
    w.sendPacket(GRE)
    expect(await w.icmpError()).toMatchObject({ type: 3, code: 2 })
    const seen: string[] = []
    const got: string[] = []
    w.kernel.hook = (slab, start, length) => {
      if (slab.bytes[start + 9] !== 47) return PASS
      got.push(Buffer.from(slab.bytes.subarray(start, start + length)).toString('hex'))
      return HANDLED
    }
    w.inbound.on('packet', packet => {
      seen.push(`${packet.version} ${packet.protocol} ${packet.bytes.length}`)
      if (packet.protocol === 47) {
        packet.handled()
        packet.drop() // too late
        expect(packet.write(BACK)).toBe(true)
      } else packet.drop()
    })
    w.sendPacket(GRE)
    await until(() => got.length > 0)
    expect(got).toEqual([BACK.toString('hex')])
    w.ping('192.0.2.1')
    await until(() => seen.length === 2)
    expect(seen).toEqual(['4 47 24', '4 1 32'])
    const { handled, drops } = w.inbound.stats()
    expect([handled, drops.hook, drops.protocol]).toEqual([1, 1, 1])
    expect(w.icmp).toEqual([])
  })

  test('is asked only while there is one; what throws lets nothing through and is reported', async () => {
    await using w = await world()
    const { stack } = w.inbound as unknown as { stack: { hook: unknown } }
    const listener = () => {}
    expect(stack.hook).toBe(null)
    w.inbound.on('packet', listener)
    expect(stack.hook).not.toBe(null)
    w.inbound.off('packet', listener)
    expect(stack.hook).toBe(null)
    const errors: string[] = []
    w.inbound.on('error', error => errors.push(error.message))
    w.inbound.once('packet', () => {
      throw new Error('broken')
    })
    w.sendPacket(GRE)
    await until(() => errors.length > 0)
    expect([errors, w.inbound.stats().drops.hook, stack.hook]).toEqual([['broken'], 1, null])
    w.sendPacket(GRE)
    expect(await w.icmpError()).toMatchObject({ type: 3, code: 2 })
  })

  test('write() takes whole packets only, and none once it is closed', async () => {
    const w = await world()
    expect(() => w.inbound.write(GRE.subarray(1))).toThrow(expect.objectContaining({ code: 'ERR_TUN_PACKET' }))
    await w[Symbol.asyncDispose]()
    expect(w.inbound.write(BACK)).toBe(false)
  })
})

describe('UDP', () => {
  test("'udp-filter' keeps strangers out of flow.send and reply, and lets the destination itself answer", async () => {
    await using w = await world({ tun: { 'endpoint-independent-nat': false } })
    const sent: boolean[] = []
    w.inbound.on('datagram', datagram => {
      sent.push(datagram.reply('stranger' as never, { address: '192.0.2.99', port: 7 }))
      sent.push(datagram.flow!.send(Buffer.from('other port'), { address: '192.0.2.1', port: 8 }))
      sent.push(datagram.reply(Buffer.from('from where it went')))
      sent.push(datagram.flow!.send(Buffer.from('again'), { address: '192.0.2.1', port: 7 }))
    })
    w.send('x', '192.0.2.1', 7)
    expect([String((await w.answer()).payload), String((await w.answer()).payload)]).toEqual(['from where it went', 'again'])
    expect(sent).toEqual([false, false, true, true])
    expect(w.inbound.stats().drops.udpFiltered).toBe(2)
  })

  test('has its hop limit with it, and what the path said of it comes from who did, with the datagram', async () => {
    await using w = await world()
    const seen: [string, number][] = []
    w.inbound.on('flow', flow =>
      flow.on('message', (payload, to, ttl) => {
        seen.push([String(payload), ttl])
        flow.report(to, { type: 11, code: 0, from: '203.0.113.7' }, payload)
      }),
    )
    let from = ''
    const { ondeliver } = w.nic
    w.nic.ondeliver = (packet, offload) => {
      from = packet.subarray(12, 16).join('.')
      ondeliver(packet, offload)
    }
    w.send('probe', '192.0.2.1', 33434)
    expect(await w.icmpError()).toEqual({ type: 11, code: 0 })
    expect([from, seen]).toEqual(['203.0.113.7', [['probe', 64]]])
    const quoted = Buffer.from(w.echoed, 'latin1')
    expect([quoted.subarray(12, 20).join('.'), quoted.readUInt16BE(20), quoted.readUInt16BE(22), quoted.toString('latin1', 28)]).toEqual([
      '10.0.0.1.192.0.2.1',
      5000,
      33434,
      'probe',
    ])
  })

  test("an answer that the application's socket does not take is told to the flow, which stays", async () => {
    await using w = await world()
    const told: unknown[] = []
    let closed = false
    w.inbound.on('flow', flow => {
      flow.on('undelivered', (from, why) => told.push(from, why))
      flow.on('close', () => (closed = true))
      flow.on('message', payload => flow.send(payload, { address: '192.0.2.99', port: 7 }))
    })
    w.send('x', '192.0.2.1', 7)
    const { from } = await w.answer()
    expect(from).toEqual({ address: '192.0.2.99', port: 7 })
    // As a kernel refuses it: port unreachable, with what it was.
    w.kernel.udp.reject(true, [0, 0, 0xffff, 0xc0000263 | 0, 7], [0, 0, 0xffff, 0x0a000001, 5000], 1, performance.now())
    w.send('y', '192.0.2.1', 7)
    await until(() => told.length > 0)
    expect(told).toEqual([
      { address: '192.0.2.99', port: 7, family: 4 },
      { type: 3, code: 3 },
    ])
    expect([closed, w.inbound.stats().udpFlows]).toEqual([false, 1])
  })

  test('to a multicast address reaches nobody, or with the option a listener, who answers with an address of his own', async () => {
    await using quiet = await world()
    await using w = await world({ tun: { multicast: true } })
    const codes: string[] = []
    w.inbound.on('datagram', datagram => {
      try {
        datagram.reply(Buffer.from('?'))
      } catch (error) {
        codes.push((error as { code: string }).code)
      }
      datagram.reply(Buffer.from('mdns'), { address: '192.0.2.1', port: 5353 })
    })
    for (const each of [quiet, w]) each.send('x', '224.0.0.251', 5353)
    expect(await w.answer()).toMatchObject({ from: { address: '192.0.2.1', port: 5353 } })
    expect(codes).toEqual(['ERR_TUN_ADDRESS'])
    await until(() => quiet.inbound.stats().drops.multicast === 1)
  })

  test('as many flows as half of the descriptors there may be: each may need a socket', () => {
    expect(descriptorLimit(() => 'Limit Soft Hard\nMax open files            1024                 4096                 files\n')).toBe(1024)
    expect(descriptorLimit(() => 'Max open files            unlimited            unlimited            files\n')).toBe(undefined)
    expect(
      descriptorLimit(() => {
        throw new Error('ENOENT')
      }),
    ).toBe(undefined)
    expect([1, 1024, 32_768, 1 << 20].map(defaultMaxUdpFlows)).toEqual([1, 512, 16_384, 16_384])
    expect(defaultMaxUdpFlows()).toBeGreaterThan(0)
  })
})
