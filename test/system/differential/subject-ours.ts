// Owns: our stack as a subject: over a NIC in memory and on virtual time, so that a situation takes no time at all.

import { ByteRange, type Bytes, CONNECTED, Driver, ENDED, GONE_EVENT, parseAddress, REQUEST, Stack, type TcpConnection } from '@tun/stack'
import { MemoryDevice, Prng, pattern, patternByte, VirtualClock, virtualHost } from '@tun/stack/testing'
import type { Ends } from './notation.js'
import type { Subject, SubjectOptions } from './subject.js'

const MTU = 1500
/** What a packet needs to get here: were it nothing, a segment and its repetition would have left at the same time (RFC 8985 compares those). */
const DELAY = 0.1 // ms

export class OurSubject implements Subject {
  readonly ends: Ends
  readonly outbox: Bytes[] = []
  private readonly clock = new VirtualClock(1_000_000)
  private readonly device = new MemoryDevice({ mtu: MTU, offload: false })
  private readonly stack: Stack
  private readonly driver: Driver
  private readonly range = new ByteRange()
  private connection: TcpConnection | null = null
  private connected = false
  private ended = false
  private told = false
  private readBytes = 0
  private written = 0

  constructor(ends: Ends, options: SubjectOptions = {}) {
    this.ends = ends
    this.device.ondeliver = packet => void this.outbox.push(packet)
    this.device.notify = fn => void this.clock.after(0, fn)
    this.device.later = fn => void this.clock.after(0, fn)
    const { rcvBuf } = options
    this.stack = new Stack({ mtu: MTU, offload: false, ...(rcvBuf === undefined ? {} : { rcvBuf }) }, new Prng(1))
    const tcp = (c: TcpConnection, bits: number) => {
      if (bits & REQUEST) {
        if (options.closed) return c.reject('refused')
        this.adopt(c)
        c.accept()
      }
      if (c !== this.connection) return
      this.connected ||= (bits & CONNECTED) !== 0
      this.ended ||= (bits & ENDED) !== 0
      if (bits & GONE_EVENT) this.told = c.error === ''
    }
    this.driver = new Driver(this.device, this.stack, { tcp, datagram: () => {}, flowEnded: () => {} }, virtualHost(this.clock), {
      lost: () => {},
      down: () => {},
      up: () => {},
      resumed: () => {},
    })
    this.driver.start()
  }

  inject(packet: Bytes): void {
    this.clock.advance(DELAY)
    this.device.inject(packet)
    this.clock.advance(0) // one at a time, as a kernel takes them
  }

  async pass(ms: number, enough?: () => boolean): Promise<void> {
    const end = this.clock.now + ms
    while (!enough?.()) {
      if (this.clock.next() > end) return this.clock.advanceTo(end)
      this.clock.runNext()
    }
  }

  async app(verb: string): Promise<string> {
    const answer = this.run(verb)
    this.driver.wake()
    this.clock.advance(0)
    return answer
  }

  async close(): Promise<void> {
    this.driver.stop()
  }

  private run(verb: string): string {
    const [name, arg] = verb.split(' ')
    if (name === 'connect') {
      const { own, ownPort, peer, peerPort } = this.ends
      const c = this.stack.connect(words(own), ownPort, words(peer), peerPort)
      if (c === null) return 'EADDRINUSE'
      this.adopt(c)
      c.setNoDelay(true)
      return ''
    }
    if (name === 'accept') return this.connected ? 'accepted' : 'nobody'
    const c = this.connection
    if (c === null) return 'no connection'
    switch (name) {
      case 'read':
        return this.read(c)
      case 'write':
        return this.write(c, Number(arg))
      case 'shutdown':
        c.end()
        return ''
      case 'close':
        c.close()
        return ''
      case 'abort':
        c.reset()
        return ''
      case 'nodelay':
        c.setNoDelay(arg === '1')
        return ''
      case 'oobinline':
        return '' // always: RFC 6093 §3
    }
    throw new Error(`verb '${verb}' is unknown`)
  }

  private adopt(c: TcpConnection): void {
    this.connection = c
    this.connected = false
    this.ended = false
    this.told = false
    this.readBytes = 0
    this.written = 0
  }

  /** As recv(2): what there is; then the error, once; then the end. */
  private read(c: TcpConnection): string {
    const { range } = this
    const before = this.readBytes
    while (c.read(range)) {
      for (let i = range.start; i < range.end; i++) {
        if (range.bytes[i] !== patternByte(this.readBytes++)) return `wrong byte ${this.readBytes - 1}`
      }
      range.owner?.release()
    }
    const seen: string[] = []
    if (this.readBytes > before) seen.push(`${this.readBytes - before} bytes`)
    const error = this.error(c)
    if (error) seen.push(error)
    else if (this.ended || this.told) seen.push('end')
    return seen.join(', ') || 'nothing'
  }

  private write(c: TcpConnection, n: number): string {
    const error = this.error(c)
    if (error) return error
    if (!c.sendable) return 'EPIPE'
    c.send(pattern(this.written, this.written + n), 0, n, null)
    this.written += n
    return ''
  }

  /** What ended it, told once. */
  private error(c: TcpConnection): string {
    if (c.error === '' || this.told) return ''
    this.told = true
    return c.error
  }
}

function words(address: Bytes): [number, number, number, number] {
  const text =
    address.length === 4
      ? address.join('.')
      : Array.from({ length: 8 }, (_, i) => ((address[2 * i] << 8) | address[2 * i + 1]).toString(16)).join(':')
  return parseAddress(text) as [number, number, number, number]
}
