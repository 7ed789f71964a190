import type { Slab, TunFlow } from '@tun/stack'
import { EventEmitter } from 'eventemitter3'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { LendingDatagrams } from './lending-datagrams.js'
import type { DatagramOutbound, Destination, Endpoint, Outbound } from './outbound.js'
import { type DatagramRoute, relayDatagrams } from './relay-datagrams.js'
import { socks5 } from './socks5.js'
import { until, world } from './world.test-kit.js'

const SOURCE: Endpoint = { address: '10.0.0.1', port: 5000, family: 4 }
const real = (last: number, port = 53): Destination => ({ address: `192.0.2.${last}`, port, family: 4 })
const fake = (last: number, port = 443): Destination => ({ address: `198.18.0.${last}`, port, family: 4, host: `h${last}.test` })

/** What a flow is to its relay, and what the relay did to it: `text → address:port` sent, `text ✗ address:port` rejected. */
class FakeFlow extends EventEmitter {
  readonly source = SOURCE
  readonly got: string[] = []
  readonly rejected: string[] = []

  says(text: string, to: Destination, ttl = 64): void {
    this.emit('message', Buffer.from(text), to, ttl)
  }
  send(payload: Buffer, from: { address: string; port: number }): boolean {
    if (from.address.includes(':')) throw new TypeError('an IPv4 address is needed here')
    this.got.push(`${payload} from ${from.address}:${from.port}`)
    return true
  }
  reject(to: Destination, length: number): void {
    this.rejected.push(`${to.address}:${to.port} ${length}`)
  }
}

class Association implements DatagramOutbound {
  readonly sent: string[] = []
  readonly ttls: (number | undefined)[] = []
  readonly closed: Promise<Error | undefined>
  isClosed = false
  end!: (error?: Error) => void
  answer: (payload: Buffer, from: Endpoint) => void = () => {}

  constructor(readonly signal: AbortSignal) {
    this.closed = new Promise(resolve => {
      this.end = resolve
    })
  }
  send(payload: Uint8Array, to: Destination, ttl?: number): boolean {
    this.ttls.push(ttl)
    this.sent.push(`${payload} to ${to.host ?? to.address}:${to.port}`)
    return true
  }
  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.answer = fn
  }
  close(): void {
    this.isClosed = true
    this.end()
  }
}

/** An outbound that counts; `gate` keeps associations waiting. */
class FakeOutbound implements Outbound {
  readonly associations: Association[] = []
  asked = 0
  gate: Promise<unknown> = Promise.resolve()

  dial(): Promise<never> {
    return Promise.reject(new Error('not TCP'))
  }
  async associate(_flow: unknown, signal?: AbortSignal): Promise<DatagramOutbound> {
    this.asked++
    await this.gate
    const association = new Association(signal!)
    this.associations.push(association)
    return association
  }
}

function start(route: Outbound | DatagramRoute) {
  const flow = new FakeFlow()
  const failures: string[] = []
  relayDatagrams(flow as unknown as TunFlow, route, { failed: (error, to) => failures.push(`${to.address}: ${error.message}`) })
  return { flow, failures }
}

/** All that promises alone can bring about. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

function held(): { gate: Promise<void>; open: () => void; fail: (error: Error) => void } {
  let open!: () => void
  let fail!: (error: Error) => void
  const gate = new Promise<void>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  gate.catch(() => {})
  return { gate, open, fail }
}

afterEach(() => {
  vi.useRealTimers()
})

describe('associations', () => {
  test('an outbound that throws where it should have answered is a failure, told once; the process goes on', async () => {
    const lookup = () => {
      throw new Error('no resolver')
    }
    const throwing = Object.defineProperty(new FakeOutbound(), 'associate', {
      get: () => {
        throw new Error('a mistake')
      },
    })
    const ways = [socks5('socks5://proxy.test:1080', { lookup }), throwing]
    for (const outbound of ways) {
      const { flow, failures } = start(outbound)
      flow.says('x', real(1))
      await settled()
      expect(failures).toHaveLength(1)
      expect(flow.rejected).toHaveLength(1)
    }
  })

  test('all real destinations of a flow share one: the mapping is endpoint-independent', async () => {
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    for (let last = 1; last <= 5; last++) flow.says(`${last}`, real(last))
    await settled()
    expect(outbound.asked).toBe(1)
    expect(outbound.associations[0].sent).toEqual([1, 2, 3, 4, 5].map(last => `${last} to 192.0.2.${last}:53`))
  })

  test('get the hop limit that a datagram came with, also one that waited', async () => {
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    flow.says('waits', real(1), 3)
    await settled()
    flow.says('goes', real(1), 4)
    expect(outbound.associations[0].ttls).toEqual([3, 4])
  })

  test('there is one per outbound', async () => {
    const [a, b] = [new FakeOutbound(), new FakeOutbound()]
    const { flow } = start(to => (to.port === 53 ? a : b))
    flow.says('x', real(1, 53))
    flow.says('y', real(1, 54))
    flow.says('z', real(2, 53))
    await settled()
    expect([a.associations[0].sent, b.associations[0].sent]).toEqual([['x to 192.0.2.1:53', 'z to 192.0.2.2:53'], ['y to 192.0.2.1:54']])
  })

  test('each fake address has its own, and an answer through it comes from that fake address', async () => {
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    flow.says('a', fake(1))
    flow.says('b', fake(2))
    flow.says('c', fake(1, 80))
    await settled()
    expect(outbound.associations.map(({ sent }) => sent)).toEqual([['a to h1.test:443', 'c to h1.test:80'], ['b to h2.test:443']])
    for (const { answer } of outbound.associations) answer(Buffer.from('!'), { address: '203.0.113.9', port: 4433, family: 4 })
    expect(flow.got).toEqual(['! from 198.18.0.1:4433', '! from 198.18.0.2:4433'])
  })

  test('ports of one fake address may take different outbounds, without ending one another', async () => {
    const [a, b] = [new FakeOutbound(), new FakeOutbound()]
    const { flow } = start(to => (to.port === 443 ? a : b))
    for (const port of [443, 80, 443, 80]) {
      flow.says('x', fake(1, port))
      await settled()
    }
    expect([a.asked, b.asked]).toEqual([1, 1])
    expect([a.associations[0].sent.length, b.associations[0].sent.length]).toEqual([2, 2])
  })

  test('answers come from their true source, and impossible ones are dropped', async () => {
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    flow.says('x', real(1))
    await settled()
    const { answer } = outbound.associations[0]
    answer(Buffer.from('6'), { address: '2001:db8::1', port: 9, family: 6 })
    answer(Buffer.from('4'), { address: '203.0.113.77', port: 9, family: 4 })
    expect(flow.got).toEqual(['4 from 203.0.113.77:9'])
  })

  test('the flow’s end closes every one, also one that is just being made, and nothing follows', async () => {
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    flow.says('x', real(1))
    await settled()
    const late = held()
    outbound.gate = late.gate
    flow.says('y', fake(1))
    await settled()
    flow.emit('close')
    late.open()
    await settled()
    expect(outbound.associations.map(({ isClosed, signal }) => [isClosed, signal.aborted])).toEqual([
      [true, true],
      [true, true],
    ])
    expect(outbound.associations[1].sent).toEqual([])
    expect(flow.rejected).toEqual([])
  })

  test('one that the flow’s end aborts is no failure', async () => {
    const outbound = new FakeOutbound()
    const slow = held()
    outbound.gate = slow.gate
    const { flow, failures } = start(outbound)
    flow.says('x', real(1))
    await settled()
    flow.emit('close')
    slow.fail(new Error('aborted'))
    await settled()
    expect([failures, flow.rejected]).toEqual([[], []])
  })

  test('one that ends after a while is replaced by the next datagram', async () => {
    vi.useFakeTimers()
    const outbound = new FakeOutbound()
    const { flow, failures } = start(outbound)
    flow.says('1', real(1))
    await settled()
    vi.advanceTimersByTime(5000)
    outbound.associations[0].end(new Error('the proxy went away'))
    await settled()
    flow.says('2', real(1))
    await settled()
    expect(outbound.associations.map(({ sent }) => sent)).toEqual([['1 to 192.0.2.1:53'], ['2 to 192.0.2.1:53']])
    outbound.associations[0].answer(Buffer.from('late'), real(1))
    expect([flow.got, failures]).toEqual([[], []])
  })

  test('the one idle for longest makes room for the 65th', async () => {
    vi.useFakeTimers()
    const outbound = new FakeOutbound()
    const { flow } = start(outbound)
    const next = async (to: Destination) => {
      vi.advanceTimersByTime(1)
      flow.says('x', to)
      await settled()
    }
    await next(real(1))
    for (let last = 1; last <= 63; last++) await next(fake(last))
    await next(real(2)) // the oldest is not the idlest
    await next(fake(64))
    expect(outbound.associations.flatMap(({ isClosed }, i) => (isClosed ? [i] : []))).toEqual([1])
    await next(fake(1)) // works again, over a new one
    expect(outbound.associations.at(-1)!.sent).toEqual(['x to h1.test:443'])
  })
})

describe('waiting', () => {
  test('20 datagrams at once wait for the association and keep their order', async () => {
    const outbound = new FakeOutbound()
    const slow = held()
    outbound.gate = slow.gate
    const { flow } = start(outbound)
    for (let i = 0; i < 20; i++) flow.says(`${i}`, real(1 + (i % 2)))
    await settled()
    expect(outbound.associations).toEqual([])
    slow.open()
    await settled()
    expect(outbound.asked).toBe(1)
    const ofOne = outbound.associations[0].sent.filter(line => line.includes('192.0.2.1'))
    expect(ofOne).toEqual(Array.from({ length: 10 }, (_, i) => `${2 * i} to 192.0.2.1:53`))
    expect(outbound.associations[0].sent).toHaveLength(20)
  })

  test('however many destinations wait, a flow holds 256 KiB, and what has left makes room', async () => {
    const outbound = new FakeOutbound()
    const slow = held()
    const { flow } = start(async () => {
      await slow.gate
      return outbound
    })
    const kilobytes = Buffer.alloc(16 * 1024 - 256).toString()
    for (let port = 1; port <= 1000; port++) flow.says(kilobytes, real(1, port))
    slow.open()
    await settled()
    expect(outbound.associations[0].sent.length).toBe(16)
    flow.says('x', real(2))
    await settled()
    expect(outbound.associations[0].sent.length).toBe(17)
  })

  test('only 64 datagrams wait, and only 256 KiB', async () => {
    const outbound = new FakeOutbound()
    const slow = held()
    outbound.gate = slow.gate
    const { flow } = start(outbound)
    for (let i = 0; i < 100; i++) flow.says('x', real(1))
    flow.says('y'.repeat(200_000), fake(1))
    flow.says('y'.repeat(200_000), fake(1))
    await settled()
    flow.says('y'.repeat(45_000), fake(1))
    slow.open()
    await settled()
    const [ofReal, ofFake] = outbound.associations
    expect(ofReal.sent).toHaveLength(64)
    expect(ofFake.sent.map(line => line.length)).toEqual([200_015, 45_015])
  })

  test('a destination is asked about once, while the route is not known and after', async () => {
    const outbound = new FakeOutbound()
    const slow = held()
    const asked: string[] = []
    const { flow } = start(async to => {
      asked.push(to.address)
      await slow.gate
      return outbound
    })
    for (let i = 0; i < 3; i++) flow.says(`${i}`, real(1))
    flow.says('other', real(2))
    slow.open()
    await settled()
    flow.says('3', real(1))
    await settled()
    expect(asked).toEqual(['192.0.2.1', '192.0.2.2'])
    expect(outbound.associations[0].sent.filter(line => line.includes('2.1:'))).toEqual([0, 1, 2, 3].map(i => `${i} to 192.0.2.1:53`))
  })

  test('1,024 routes are remembered; the oldest is asked for again', async () => {
    const outbound = new FakeOutbound()
    let asked = 0
    const { flow } = start(() => {
      asked++
      return outbound
    })
    for (let port = 1; port <= 1025; port++) flow.says('x', real(1, port))
    await settled()
    flow.says('x', real(1, 1025))
    expect(asked).toBe(1025)
    flow.says('x', real(1, 1))
    expect(asked).toBe(1026)
  })
})

describe('failures', () => {
  test('no route: port unreachable, with the length that was sent; asked again after a second', async () => {
    vi.useFakeTimers()
    const outbound = new FakeOutbound()
    let open = false
    const { flow } = start(() => (open ? outbound : null))
    flow.says('four', real(1))
    await settled()
    flow.says('seven77', real(1))
    expect(flow.rejected).toEqual(['192.0.2.1:53 4', '192.0.2.1:53 7'])
    open = true
    vi.advanceTimersByTime(999)
    flow.says('x', real(1))
    expect(flow.rejected).toHaveLength(3)
    vi.advanceTimersByTime(2)
    flow.says('y', real(1))
    await settled()
    expect([flow.rejected.length, outbound.associations[0].sent]).toEqual([3, ['y to 192.0.2.1:53']])
  })

  test('a failed association: everything that waits is rejected, once told, tried again after a second', async () => {
    vi.useFakeTimers()
    const outbound = new FakeOutbound()
    const slow = held()
    outbound.gate = slow.gate
    const { flow, failures } = start(outbound)
    for (const last of [1, 2, 2]) flow.says('x', real(last))
    slow.fail(new Error('no proxy'))
    await settled()
    expect(flow.rejected).toEqual(['192.0.2.1:53 1', '192.0.2.2:53 1', '192.0.2.2:53 1'])
    expect(failures).toEqual(['192.0.2.1: no proxy'])
    outbound.gate = Promise.resolve()
    vi.advanceTimersByTime(500)
    flow.says('x', real(3))
    await settled()
    expect([outbound.asked, flow.rejected.length]).toEqual([1, 4])
    vi.advanceTimersByTime(600)
    flow.says('again', real(1))
    await settled()
    expect(outbound.associations[0].sent).toEqual(['again to 192.0.2.1:53'])
  })

  test('a callback that throws is thrown by itself: rejecting and trying again go on', async () => {
    vi.useFakeTimers()
    const thrown: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').on('uncaughtException', error => thrown.push((error as Error).message))
    try {
      const flow = new FakeFlow()
      const outbound = new FakeOutbound()
      outbound.gate = Promise.reject(new Error('no proxy'))
      let routed = 0
      const route = () => {
        if (routed++ === 0) throw new Error('no rules')
        return outbound
      }
      relayDatagrams(flow as unknown as TunFlow, route, {
        failed: error => {
          throw new Error(`told of ${error.message}`)
        },
      })
      for (const last of [1, 2]) flow.says('x', real(last))
      await settled()
      expect(flow.rejected).toEqual(['192.0.2.1:53 1', '192.0.2.2:53 1'])
      vi.useRealTimers()
      await new Promise(setImmediate)
      expect(thrown).toEqual(['told of no rules', 'told of no proxy'])
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })

  test.each<[string, Outbound | DatagramRoute, string]>([
    ['a route that throws', () => Promise.reject(new Error('no rules')), 'no rules'],
    ['an outbound without UDP', { dial: () => Promise.reject(new Error('tcp')) }, 'this outbound carries no UDP'],
  ])('%s is a port unreachable', async (_, route, words) => {
    const { flow, failures } = start(route)
    flow.says('x', real(1))
    await settled()
    expect([flow.rejected, failures]).toEqual([['192.0.2.1:53 1'], [`192.0.2.1: ${words}`]])
  })

  test('an association that ends as soon as it is there is not made again for every datagram', async () => {
    vi.useFakeTimers()
    const outbound = new FakeOutbound()
    const { flow, failures } = start(outbound)
    flow.says('1', real(1))
    await settled()
    outbound.associations[0].end()
    await settled()
    for (let i = 0; i < 10; i++) flow.says('x', real(1))
    await settled()
    expect([outbound.asked, flow.rejected.length]).toEqual([1, 10])
    expect(failures).toEqual(['192.0.2.1: the association ended as soon as it was there'])
  })
})

describe('on a stack', () => {
  test('an application’s datagrams go out, and an answer comes back from whoever sent it', async () => {
    await using w = await world()
    const outbound = new FakeOutbound()
    w.inbound.on('flow', flow => relayDatagrams(flow, outbound))
    w.send('hello', '192.0.2.1', 7)
    await until(() => outbound.associations[0]?.sent.length === 1)
    const { answer } = outbound.associations[0]
    for (const address of ['2001:db8::1', '127.0.0.1', '224.0.0.1', 'no address'])
      answer(Buffer.from('bad'), { address, port: 1, family: 4 })
    answer(Buffer.from('good'), { address: '203.0.113.5', port: 99, family: 4 })
    expect(await w.answer()).toEqual({ payload: Buffer.from('good'), from: { address: '203.0.113.5', port: 99 } })
    expect(w.answers).toEqual([])
  })

  test('what nobody carries is port unreachable at the application', async () => {
    await using w = await world()
    w.inbound.on('flow', flow => relayDatagrams(flow, () => null))
    w.send('hello', '192.0.2.1', 7)
    expect(await w.icmpError()).toEqual({ type: 3, code: 3 })
  })

  test('closing the inbound closes the associations', async () => {
    const outbound = new FakeOutbound()
    const w = await world()
    w.inbound.on('flow', flow => relayDatagrams(flow, outbound))
    w.send('hello', '192.0.2.1', 7)
    await until(() => outbound.associations[0]?.sent.length === 1)
    await w[Symbol.asyncDispose]()
    expect(outbound.associations[0].isClosed).toBe(true)
  })
})

/** One of our own outbounds: it takes what is lent. */
class FakeLending extends LendingDatagrams {
  readonly closed: Promise<Error | undefined>
  end!: (error?: Error) => void
  /** `length(s)` of what was lent, `+ length` of what was not. */
  readonly took: string[] = []

  constructor() {
    super()
    this.closed = new Promise(resolve => {
      this.end = resolve
    })
  }
  send(payload: Uint8Array): boolean {
    this.took.push(`+ ${payload.length}`)
    return true
  }
  sendLent(_slab: Slab, start: number, end: number, segment: number, to: Destination): boolean {
    this.took.push(`${end - start}${segment > 0 ? ` / ${segment}` : ''} ${to.host ?? to.address}:${to.port}`)
    return true
  }
  answer(text: string, from: Endpoint): void {
    const bytes = Buffer.from(`<${text}>`)
    this.give(bytes, 1, bytes.length - 1, from)
  }
  close(): void {
    this.end()
  }
}

class LendingOutbound implements Outbound {
  readonly associations: FakeLending[] = []
  dial(): Promise<never> {
    return Promise.reject(new Error('not TCP'))
  }
  async associate(): Promise<DatagramOutbound> {
    this.associations.push(new FakeLending())
    return this.associations[this.associations.length - 1]
  }
}

describe('with an outbound of our own', () => {
  async function lending(also: (flow: TunFlow) => void = () => {}) {
    const w = await world({ nic: { offload: true } })
    const outbound = new LendingOutbound()
    w.inbound.on('flow', flow => {
      relayDatagrams(flow, outbound)
      also(flow)
    })
    const send = (address: string, port: number, ...lengths: number[]) => {
      for (const length of lengths) w.send(new Uint8Array(length), address, port)
    }
    send('192.0.2.1', 7, 1)
    await until(() => outbound.associations[0]?.took.length === 1)
    return { w, outbound, send, association: outbound.associations[0] }
  }

  test('datagrams are lent once their way is known, trains as a whole; to another destination the first one comes as an event', async () => {
    const { w, association, send } = await lending()
    await using _ = w
    send('192.0.2.1', 7, 100, 100, 100, 30, 200)
    send('192.0.2.2', 7, 5)
    send('192.0.2.1', 7, 6)
    await until(() => association.took.length === 5)
    send('192.0.2.2', 7, 8)
    send('192.0.2.1', 7, 9)
    await until(() => association.took.length === 7)
    const lent = ['330 / 100 192.0.2.1:7', '200 192.0.2.1:7', '+ 5', '6 192.0.2.1:7', '8 192.0.2.2:7', '9 192.0.2.1:7']
    expect(association.took).toEqual(['+ 1', ...lent])
    // Both directions are use, and nothing is held.
    association.answer('good', { address: '203.0.113.5', port: 99, family: 4 })
    expect(await w.answer()).toEqual({ payload: Buffer.from('good'), from: { address: '203.0.113.5', port: 99 } })
    expect([w.inbound.stats().slabs, w.slabs.inUse]).toEqual([1, 1])
  })

  test('impossible answers are dropped, whoever else answers', async () => {
    const { w, association } = await lending()
    await using _ = w
    for (const address of ['2001:db8::1', '127.0.0.1', '224.0.0.1', 'no address'])
      association.answer('bad', { address, port: 1, family: 4 })
    association.answer('good', { address: '203.0.113.5', port: 99, family: 4 })
    expect(await w.answer()).toEqual({ payload: Buffer.from('good'), from: { address: '203.0.113.5', port: 99 } })
    expect(w.answers).toEqual([])
  })

  test('a second listener of the flow sees every datagram: then nothing is lent', async () => {
    const seen: number[] = []
    const { w, association, send } = await lending(flow => flow.on('message', payload => seen.push(payload.length)))
    await using _ = w
    send('192.0.2.1', 7, 100, 100, 100)
    await until(() => association.took.length === 4)
    expect([seen, association.took]).toEqual([
      [1, 100, 100, 100],
      ['+ 1', '+ 100', '+ 100', '+ 100'],
    ])
  })

  test('when the association has ended, the next datagram asks for a new one', async () => {
    const { w, association, outbound, send } = await lending()
    await using _ = w
    send('192.0.2.1', 7, 2)
    await until(() => association.took.length === 2)
    const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 2000)
    association.end()
    await settled()
    now.mockRestore()
    send('192.0.2.1', 7, 3)
    await until(() => outbound.associations[1]?.took.length === 1)
    expect([association.took, outbound.associations[1].took]).toEqual([['+ 1', '2 192.0.2.1:7'], ['+ 3']])
  })
})
