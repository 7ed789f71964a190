import { expect, test } from 'vitest'
import type { Device } from '../device.js'
import { BLOCKED, DOWN, GONE, OK, type PacketBatch } from '../memory/packet-batch.js'
import { Stack, type StackEvents } from '../stack.js'
import { Prng } from '../testing/prng.js'
import { Script } from '../testing/script.js'
import { Driver, type DriverHooks, type Host } from './driver.js'
import { UdpPort } from './udp-flow.js'

/** A device that does as it is told, a clock that stands, and a list of what is to run soon. */
class Bench {
  time = 1000
  sleep = 0
  mtu = 1500
  reads = 0
  read: (rx: PacketBatch) => number = rx => {
    rx.status = BLOCKED
    return 0
  }
  write: (tx: PacketBatch) => number = tx => {
    tx.status = OK
    const rows = tx.count - tx.first
    tx.first = tx.count
    return rows
  }
  readable = () => {}
  changed = () => {}
  isUp: boolean
  writable = () => {}
  readonly soon: (() => void)[] = []
  readonly raised: unknown[] = []
  readonly told: string[] = []
  hooks: Partial<DriverHooks> = {}
  events: Partial<StackEvents> = {}
  readonly stack: Stack
  readonly driver: Driver

  constructor({ isUp = true } = {}) {
    this.isUp = isUp
    const bench = this
    const device: Device = {
      name: 'test',
      offload: true,
      get mtu() {
        return bench.mtu
      },
      read: rx => {
        bench.reads++
        return bench.read(rx)
      },
      write: tx => bench.write(tx),
      onReadable: fn => (bench.readable = fn),
      onWritable: fn => (bench.writable = fn),
      onChanged: fn => (bench.changed = fn),
      get isUp() {
        return bench.isUp
      },
      close: () => {},
    }
    const host: Host = {
      now: () => this.time,
      wall: () => this.time + this.sleep,
      soon: fn => void this.soon.push(fn),
      setTimer: () => 0,
      clearTimer: () => {},
      raise: error => void this.raised.push(error),
    }
    this.stack = new Stack({ mtu: 1500, udpTimeout: 1000 }, new Prng(1))
    const tell =
      <A extends unknown[]>(name: string, also: () => ((...args: A) => void) | undefined) =>
      (...args: A) => {
        this.told.push(name)
        also()?.(...args)
      }
    this.driver = new Driver(
      device,
      this.stack,
      {
        tcp: (c, bits) => this.events.tcp?.(c, bits),
        datagram: d => this.events.datagram?.(d),
        flowEnded: tell('flowEnded', () => this.events.flowEnded),
      },
      host,
      {
        lost: tell('lost', () => this.hooks.lost),
        down: tell('down', () => this.hooks.down),
        up: tell('up', () => this.hooks.up),
        resumed: tell('resumed', () => this.hooks.resumed),
      },
    )
    this.driver.start()
  }

  /** A UDP flow that ends at now + 1000. */
  flow() {
    return this.stack.udp.flows.of(true, 0, 0, 0xffff, 1, 1, 9, this.time)
  }

  /** `n` datagrams wait to be sent. */
  queue(n: number) {
    for (let i = 0; i < n; i++) this.stack.udp.send(true, [0, 0, 0xffff, 1, 1 + i], [0, 0, 0xffff, 2, 2], new Uint8Array(10))
  }

  /** As many rows as fit, of which nothing can be made. */
  flood = (rx: PacketBatch): number => {
    rx.status = OK
    const rows = rx.capacity - rx.count
    rx.length.fill(0)
    rx.count = rx.capacity
    return rows
  }
}

test('a device that is readable for ever gets 512 rows a turn', () => {
  const t = new Bench()
  t.read = t.flood
  t.readable()
  expect(t.stack.stats.rowsIn).toBe(512)
})

test('super-segments are answered, then asked for again within the turn; plain packets are not', () => {
  const bench = new Bench()
  const log: string[] = []
  const arrivals = [[64_000], [64_000, 100, 20_000], Array(40).fill(1500), [64_000]]
  bench.read = rx => {
    const rows = arrivals.shift() as number[]
    log.push(`read ${rows.length}`)
    bench.queue(1) // the answer
    for (const bytes of rows) {
      rx.length[rx.count++] = 0 // of which nothing can be made
      rx.used += bytes
    }
    rx.status = BLOCKED
    return rows.length
  }
  const write = bench.write
  bench.write = tx => {
    log.push('write')
    return write(tx)
  }
  bench.readable()
  expect(log).toEqual(['read 1', 'write', 'read 3', 'write', 'read 40', 'write'])
})

/** A read of one, of which nothing can be made. */
const superSegment = (status: number) => (rx: PacketBatch) => {
  rx.status = status
  rx.length[rx.count++] = 0
  rx.used += 64 * 1024
  return 1
}

test('super-segments that every answer lets out anew take half a turn at most', () => {
  const bench = new Bench()
  bench.read = superSegment(BLOCKED)
  bench.readable()
  expect(bench.reads).toBe(8) // of 64 KiB each: half of 1 MiB
  bench.readable()
  expect(bench.reads).toBe(16)
})

test('a device that has super-segments for ever gets 1 MiB a turn', () => {
  const t = new Bench()
  t.read = superSegment(OK)
  t.readable()
  expect(t.reads).toBe(16)
})

test('reads that bring nothing count as well: a flood of empty datagrams does not keep the turn', () => {
  const t = new Bench()
  t.read = rx => {
    rx.status = OK
    return 0
  }
  t.readable()
  expect(t.reads).toBe(512)
})

test('a turn that ends with its budget runs no deadline; the 32nd in a row does', () => {
  const t = new Bench()
  t.flow()
  t.read = t.flood
  t.time += 1001
  for (let i = 0; i < 31; i++) {
    t.time += 10
    t.readable()
    expect(t.told).toEqual([])
  }
  t.readable()
  expect(t.told).toEqual(['flowEnded'])
})

test('a deadline held back by the budget is not a process that stood still', () => {
  const t = new Bench()
  t.flow()
  t.read = t.flood
  const stalled: boolean[] = []
  const input = t.stack.input.bind(t.stack)
  t.stack.input = (rx, now, late) => {
    stalled.push(late === true)
    input(rx, now, late)
  }
  t.time += 990
  t.readable()
  for (let i = 0; i < 20; i++) {
    t.time += 20
    t.readable()
  }
  expect(stalled).not.toContain(true)
  t.time += 60
  t.readable()
  expect(stalled.at(-1)).toBe(true)
})

test('a process that stood still starts deadlines anew, also if there is much to read first', () => {
  const t = new Script().establish('mss 1000')
  t.write(100)
  t.sent('PA 1:101')
  t.clock.advance(0)
  const { driver } = t
  const inside = driver as unknown as { host: Host; turn(reading: boolean): void }
  const now = t.clock.now
  inside.host = { ...inside.host, now: () => now + 900 }
  const { device } = t
  const { read } = device
  device.read = rx => {
    rx.status = OK
    rx.length.fill(0)
    rx.count = rx.capacity
    return rx.capacity
  }
  inside.turn(true) // its budget is spent
  device.read = read
  inside.turn(true)
  t.sentNothing()
  expect(t.stack.stats.tcpTimeouts).toBe(0)
})

test('rows lost to a NIC that is down or gone are counted, those written before are not', () => {
  for (const [status, advanced, lost] of [[DOWN, true, 60] as const, [GONE, false, 50] as const]) {
    const t = new Bench()
    t.queue(100)
    t.write = tx => {
      tx.first = 40
      tx.status = BLOCKED
      return 40
    }
    t.readable()
    t.write = tx => {
      tx.first = advanced ? tx.count : 50
      tx.status = status
      return 10
    }
    t.writable()
    expect(t.stack.stats.drops.deviceDown).toBe(lost)
    expect(t.told).toEqual([advanced ? 'down' : 'lost'])
  }
})

test('a blocked batch is not filled anew before it is written', () => {
  const t = new Bench()
  t.queue(10)
  let headers: Uint8Array | null = null
  t.write = tx => {
    headers = tx.slab.bytes.slice(0, 640)
    tx.status = BLOCKED
    return 0
  }
  t.readable()
  t.stack.udp.send(true, [0, 0, 0xffff, 9, 9], [0, 0, 0xffff, 8, 8], new Uint8Array(10))
  t.readable()
  t.driver.flush()
  const rows: number[] = []
  t.write = tx => {
    rows.push(tx.count - tx.first)
    if (rows.length === 1) expect(tx.slab.bytes.slice(0, 640)).toEqual(headers)
    tx.first = tx.count
    tx.status = OK
    return rows[rows.length - 1]
  }
  t.writable()
  for (const fn of t.soon.splice(0)) fn()
  expect(rows).toEqual([10, 1])
})

test.each(['resumed', 'down', 'up'] as const)('stopped from within %s, it touches the device no more and loses nothing twice', hook => {
  const t = new Bench()
  t.hooks[hook] = () => t.driver.stop()
  t.queue(600)
  if (hook === 'resumed') t.sleep = 60_000
  else {
    t.write = tx => {
      tx.first = tx.count
      tx.status = DOWN
      return tx.count
    }
  }
  if (hook === 'up') {
    t.readable()
    t.queue(600)
    t.write = tx => {
      tx.first = tx.count
      tx.status = OK
      return tx.count
    }
  }
  t.reads = 0
  const { write } = t
  let writes = 0
  t.write = tx => {
    writes++
    return write(tx)
  }
  t.readable()
  expect(t.told.at(-1)).toBe(hook)
  expect([t.reads, writes]).toEqual(hook === 'resumed' ? [0, 0] : [1, 1])
  t.readable()
  t.writable()
  expect(t.told).not.toContain('lost')
})

test('a device that tells of its state needs no packet to be known as down or up, and an MTU that changed is followed at once', () => {
  const t = new Bench()
  t.mtu = 1400
  t.changed()
  expect([t.stack.options.mtu, t.told]).toEqual([1400, []])
  t.isUp = false
  t.changed()
  t.changed()
  t.isUp = true
  t.changed()
  expect(t.told).toEqual(['down', 'up'])
  t.driver.stop()
  t.isUp = false
  t.changed()
  expect(t.told).toEqual(['down', 'up'])
})

test('a device that is down at the start is told of, when there has been time to listen', () => {
  const t = new Bench({ isUp: false })
  expect(t.told).toEqual([])
  for (const fn of t.soon.splice(0)) fn()
  expect(t.told).toEqual(['down'])
})

test('what a hook throws is raised; the turn goes on, and the next one begins', () => {
  const t = new Bench()
  t.hooks.resumed = () => {
    throw new Error('mine')
  }
  t.sleep = 60_000
  t.readable()
  t.readable()
  expect(t.raised).toEqual([new Error('mine')])
  expect(t.reads).toBe(2)
})

test('a flow used outside a turn lives from now on, not from the last turn', () => {
  const t = new Bench()
  const flow = t.flow()
  t.readable()
  const port = new UdpPort(t.stack, t.driver)
  t.time += 900
  port.touch(flow)
  t.time += 900
  t.readable()
  expect(flow.closed).toBe(false)
  t.time += 100
  t.readable()
  expect(flow.closed).toBe(true)
})

test('what the drain took time for leaves with the time of leaving: no round trip begins before it', () => {
  const t = new Bench()
  const polled: number[] = []
  const poll = t.stack.poll.bind(t.stack)
  t.stack.poll = (now, tx) => {
    polled.push(now)
    return poll(now, tx)
  }
  t.events.flowEnded = () => {
    t.time += 300
  }
  t.stack.udp.flows.close(t.flow())
  t.readable()
  expect(polled).toEqual([1300])
})

test('a device that throws is lost, and that is told; nothing hangs', () => {
  const bench = new Bench()
  const boom = new Error('boom')
  bench.read = () => {
    throw boom
  }
  bench.readable()
  expect([bench.raised, bench.told]).toEqual([[boom], ['lost']])
  bench.readable()
  expect(bench.reads).toBe(1)
})
