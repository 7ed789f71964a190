// Owns: scripts in packetdrill's manner: one connection of one stack, virtual time, hand-made segments in, every segment out compared.
//
//   const t = new Script()
//   t.recv('S 1000:1000 win 65535 <mss 1460>')
//   t.sent('SA 0:0 ack 1001')

import { ByteRange } from '../memory/byte-queue.js'
import type { Bytes, Millis } from '../memory/slab.js'
import { Driver } from '../node/driver.js'
import type { StackOptions } from '../options.js'
import { Stack } from '../stack.js'
import type { RejectReason, TcpConnection } from '../tcp/connection.js'
import { CONNECTED, ENDED, GONE_EVENT, READABLE, REQUEST, WRITABLE } from '../tcp/states.js'
import { parseAddress } from '../wire/address.js'
import { printPacket, printState } from '../wire/print.js'
import { readSegment, Segment } from '../wire/tcp.js'
import { MemoryDevice } from './memory-device.js'
import { encodeOptions, LETTERS, type Line, parseLine, pattern, patternByte, sameOptions } from './notation.js'
import { fillChecksums, layoutOf, packetOk } from './oracle.js'
import { virtualHost } from './pair.js'
import { Prng } from './prng.js'
import { VirtualClock } from './virtual-clock.js'

export interface ScriptOptions {
  /** Default IPv4. */
  v6?: boolean
  /** Virtual time at the start; default 1000. */
  start?: Millis
  stack?: StackOptions
  mtu?: number
  /** Super-segments; they are compared as one segment, with all their bytes. Default false. */
  offload?: boolean
  /** Accept every SYN at once (default), or leave it to `accept()`. */
  accept?: boolean
  /** Read whatever arrives at once (default), or leave it to `read()`. */
  read?: boolean
  seed?: number
}

const PEER_PORT = 40_000
const OWN_PORT = 80

/** A script; its lines are written as notation.ts says. */
export class Script {
  readonly clock: VirtualClock
  readonly device: MemoryDevice
  readonly stack: Stack
  readonly driver: Driver
  /** All connections there were, the newest last. */
  readonly connections: TcpConnection[] = []
  /** Names of the events told so far, in order: `request connected readable writable ended gone`. */
  readonly events: string[] = []
  /** Packets sent and not yet expected by `sent`. */
  readonly outbox: Bytes[] = []
  reading: boolean
  /** Bytes of the peer's stream read so far; all of them followed the pattern. */
  readBytes = 0
  /** Window field of segments whose line has none. */
  win = 65_535
  private written = 0
  private peerIss = 0
  private peerTs = 0
  private readonly v6: boolean
  private readonly start: Millis
  private readonly accepting: boolean
  private readonly transcript: string[] = []
  private readonly range = new ByteRange()
  private readonly seg = new Segment()

  constructor(options: ScriptOptions = {}) {
    this.v6 = options.v6 ?? false
    this.start = options.start ?? 1000
    this.accepting = options.accept ?? true
    this.reading = options.read ?? true
    this.clock = new VirtualClock(this.start)
    this.device = new MemoryDevice({ mtu: options.mtu ?? 1500, offload: options.offload ?? false, splitGso: false })
    this.device.ondeliver = packet => this.captured(packet)
    this.device.notify = fn => void this.clock.after(0, fn)
    this.device.later = fn => void this.clock.after(0, fn)
    const { mtu, offload } = this.device
    this.stack = new Stack({ mtu, offload, ...options.stack }, new Prng(options.seed ?? 1))
    this.driver = new Driver(
      this.device,
      this.stack,
      { tcp: (c, bits) => this.happened(c, bits), datagram: () => {}, flowEnded: () => {} },
      virtualHost(this.clock),
      { lost: () => {}, down: () => {}, up: () => {}, resumed: () => {} },
    )
    this.driver.start()
  }

  /** The newest connection. */
  get connection(): TcpConnection {
    const c = this.connections.at(-1)
    if (c === undefined) this.fail('there is no connection yet')
    return c as TcpConnection
  }

  get state(): string {
    return printState(this.connection.state)
  }

  // ---- the application's verbs; each runs what it causes at once

  accept(): void {
    this.verb('accept', () => this.connection.accept())
  }

  reject(reason: RejectReason): void {
    this.verb(`reject ${reason}`, () => this.connection.reject(reason))
  }

  /** Queues the next `n` bytes of our pattern, in pieces of `piece`; `owned`: by reference instead of copied. */
  write(n: number, piece = n, owned = false): void {
    this.verb(`write ${n}`, () => {
      const end = this.written + n
      while (this.written < end) {
        const to = Math.min(this.written + piece, end)
        const owner = owned ? { retain: () => {}, release: () => {} } : null
        this.connection.send(pattern(this.written, to), 0, to - this.written, owner)
        this.written = to
      }
    })
  }

  /** Reads up to `most` bytes (whole chunks) and compares them with the peer's pattern; answers how many. */
  read(most = Infinity): number {
    let n = 0
    this.verb('read', () => {
      while (n < most && this.connection.read(this.range)) n += this.take()
    })
    return n
  }

  end(): void {
    this.verb('end', () => this.connection.end())
  }

  close(): void {
    this.verb('close', () => this.connection.close())
  }

  reset(): void {
    this.verb('reset', () => this.connection.reset())
  }

  /** Opens a connection towards the peer: the SYN is the next thing sent. */
  connect(): void {
    const c = this.stack.connect(this.words(true), OWN_PORT, this.words(false), PEER_PORT)
    if (c === null) this.fail('the flow is in use')
    this.connections.push(c as TcpConnection)
    this.written = 0
    this.verb('connect', () => {})
  }

  // ---- the peer's segments and time

  /** A segment from the peer. */
  recv(text: string): void {
    const line = parseLine(text)
    if (line.flags & LETTERS.S) {
      this.peerIss = line.seq
      this.readBytes = 0
      this.written = 0
    }
    if (line.win !== null) this.win = line.win
    this.note('<', text)
    this.inject(this.build(line))
  }

  /** A ready-made packet from the peer. */
  inject(packet: Bytes): void {
    this.device.inject(packet)
    this.clock.advance(0)
  }

  advance(ms: Millis): void {
    this.clock.advance(ms)
    this.note('·', `${ms} ms later`)
  }

  // ---- what was sent

  /** The next packet that was sent must be this one. */
  sent(text: string): void {
    const line = parseLine(text)
    const packet = this.outbox.shift()
    if (packet === undefined) this.fail(`expected ${text}, but nothing was sent`)
    const { flags, seq, end, ack, win, options, data } = this.read1(packet as Bytes)
    const wrong: string[] = []
    if (flags !== line.flags) wrong.push('flags')
    if (seq !== line.seq) wrong.push('seq')
    if (end !== line.end) wrong.push('length')
    if (line.ack !== null && ack !== line.ack) wrong.push('ack')
    if (line.win !== null && win !== line.win) wrong.push('win')
    if (line.options !== null && !sameOptions(line.options, options)) wrong.push('options')
    const from = seq - 1
    for (let i = 0; i < data.length; i++) {
      if (data[i] !== patternByte(from + i)) {
        wrong.push(`data at ${i}`)
        break
      }
    }
    if (wrong.length > 0) this.fail(`expected ${text}\n     got ${this.describe(packet as Bytes)}\nwrong: ${wrong.join(', ')}`)
  }

  /** Nothing was sent that `sent` has not seen. */
  sentNothing(): void {
    if (this.outbox.length > 0) this.fail(`expected nothing, got ${this.outbox.map(p => this.describe(p)).join(' | ')}`)
  }

  /** The next packet that was sent, taken as it is. */
  takeSent(): Bytes {
    const packet = this.outbox.shift()
    if (packet === undefined) this.fail('expected a packet, but nothing was sent')
    return packet as Bytes
  }

  /** Everything sent and not yet seen, in the notation, and forgotten. */
  drainSent(): string[] {
    return this.outbox.splice(0).map(p => this.describe(p))
  }

  /** Handshake in one line: `options` of the peer's SYN; its ISN is 1000. Returns with the connection established. */
  establish(options = 'mss 1460', win = 65_535, ackWin = win): this {
    this.recv(`S 1000:1000 win ${win} <${options}>`)
    if (!this.accepting) this.accept()
    this.sent('SA 0:0 ack 1001')
    this.recv(`A 1001:1001 ack 1 win ${ackWin}`)
    this.sentNothing()
    return this
  }

  // ---- inside

  private verb(name: string, run: () => void): void {
    this.note('#', name)
    run()
    this.driver.wake()
    this.clock.advance(0)
  }

  private happened(c: TcpConnection, bits: number): void {
    if (bits & REQUEST) {
      this.connections.push(c)
      this.event('request')
      if (this.accepting) c.accept()
    }
    if (bits & CONNECTED) this.event('connected')
    if (bits & READABLE) this.event('readable')
    if (bits & WRITABLE) this.event('writable')
    if (bits & ENDED) this.event('ended')
    if (bits & (READABLE | ENDED | GONE_EVENT) && this.reading) while (c.read(this.range)) this.take()
    if (bits & GONE_EVENT) this.event(c.error === '' ? 'gone' : `gone ${c.error}`)
  }

  private event(name: string): void {
    this.events.push(name)
    this.note('!', name)
  }

  private take(): number {
    const { bytes, start, end, owner } = this.range
    for (let i = start; i < end; i++) {
      if (bytes[i] !== patternByte(this.readBytes + i - start))
        this.fail(`byte ${this.readBytes + i - start} of the peer's stream is wrong`)
    }
    this.readBytes += end - start
    owner?.release()
    return end - start
  }

  private captured(packet: Bytes): void {
    this.outbox.push(packet)
    this.note('>', this.describe(packet))
  }

  /** The packet in the notation (anything but TCP as tcpdump would print it). */
  describe(packet: Bytes): string {
    if (layoutOf(packet).protocol !== 6) return printPacket(packet)
    const { flags, seq, end, ack, win, options } = this.read1(packet)
    let text = ''
    for (const [letter, bit] of Object.entries({ S: 2, F: 1, R: 4, P: 8, U: 32, A: 16, E: 64, C: 128 })) if (flags & bit) text += letter
    text += ` ${seq}:${end}`
    if (flags & LETTERS.A) text += ` ack ${ack}`
    return `${text} win ${win}${options === '' ? '' : ` <${options}>`}`
  }

  private read1(packet: Bytes) {
    const { seg } = this
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    const layout = layoutOf(packet)
    if (layout.protocol !== 6) this.fail(`a TCP segment was expected, not ${printPacket(packet)}`)
    // Super-segments are compared before the device completes them.
    if (packet.length <= this.device.mtu && !packetOk(packet)) this.fail(`checksums are wrong: ${printPacket(packet)}`)
    if (!readSegment(view, layout.transport, layout.end, seg)) this.fail('a segment that cannot be read')
    const base = this.base()
    const seq = seg.flags & LETTERS.R && !this.synchronized(seg.seq) ? seg.seq >>> 0 : (seg.seq - base) | 0
    const options: string[] = []
    if (seg.mss > 0) options.push(`mss ${seg.mss}`)
    if (seg.sackPermitted) options.push('sackOK')
    if (seg.hasTimestamps) options.push(`TS val ${this.ownTs(seg.tsVal)} ecr ${seg.tsEcr >>> 0}`)
    if (seg.wndShift >= 0) options.push(`wscale ${seg.wndShift}`)
    if (seg.sackCount > 0) {
      const blocks: string[] = []
      for (let i = 0; i < seg.sackCount; i++) blocks.push(`${seg.sack[2 * i] >>> 0}:${seg.sack[2 * i + 1] >>> 0}`)
      options.push(`sack ${blocks.join(' ')}`)
    }
    return {
      flags: seg.flags,
      seq,
      end: seq + seg.end - seg.data,
      ack: seg.flags & LETTERS.A ? seg.ack >>> 0 : null,
      win: seg.wnd,
      options: options.join(','),
      data: packet.subarray(seg.data, seg.end),
    }
  }

  /** A reset for a flow without ISS of ours (refused, unknown) has sequence number 0, as it stands. */
  private synchronized(seq: number): boolean {
    return this.connections.length > 0 && this.base() !== 0 && seq !== 0
  }

  private base(): number {
    return this.connections.at(-1)?.iss ?? 0
  }

  private ownTs(val: number): number {
    const c = this.connections.at(-1)
    return c === undefined ? val >>> 0 : (val - c.tsOffset - Math.floor(this.start)) | 0
  }

  private build(line: Line): Bytes {
    const c = this.connections.at(-1)
    let options = line.options
    if (options === null && c?.tsOk && !(line.flags & LETTERS.R)) {
      options = `TS val ${this.peerNow()} ecr ${this.ownTs((Math.floor(this.clock.now) + c.tsOffset) | 0)}`
    }
    if (options?.includes('TS val')) this.peerTs = Number(/TS val (\d+)/.exec(options)?.[1]) - Math.floor(this.clock.now - this.start)
    const tsBase = c?.tsOk ? c.tsOffset + Math.floor(this.start) : 0
    const tcpOptions = encodeOptions(options ?? '', tsBase, this.base())
    const text = line.end - line.seq
    const ipBytes = this.v6 ? 40 : 20
    const packet = new Uint8Array(ipBytes + 20 + tcpOptions.length + text)
    const view = new DataView(packet.buffer)
    this.writeIp(view, packet.length)
    const at = ipBytes
    view.setUint16(at, PEER_PORT)
    view.setUint16(at + 2, OWN_PORT)
    view.setInt32(at + 4, line.seq)
    view.setInt32(at + 8, line.ack === null ? 0 : line.ack + this.base())
    view.setUint8(at + 12, (20 + tcpOptions.length) << 2)
    view.setUint8(at + 13, line.flags)
    view.setUint16(at + 14, line.win ?? this.win)
    view.setUint16(at + 18, line.urg)
    packet.set(tcpOptions, at + 20)
    const from = (line.seq - this.peerIss - (line.flags & LETTERS.S ? 0 : 1)) | 0
    packet.set(pattern(from, from + text), at + 20 + tcpOptions.length)
    return fillChecksums(packet)
  }

  /** The peer's TS clock: milliseconds since the script began, plus what its SYN said. */
  private peerNow = (): number => this.peerTs + Math.floor(this.clock.now - this.start)

  private writeIp(view: DataView, length: number): void {
    const from = this.words(false)
    const to = this.words(true)
    if (!this.v6) {
      view.setUint16(0, 0x4500)
      view.setUint16(2, length)
      view.setUint16(6, 0x4000)
      view.setUint16(8, 0x4006)
      view.setInt32(12, from[3])
      view.setInt32(16, to[3])
      return
    }
    view.setUint32(0, 0x60000000)
    view.setUint16(4, length - 40)
    view.setUint16(6, 0x0640)
    for (let i = 0; i < 4; i++) {
      view.setInt32(8 + 4 * i, from[i])
      view.setInt32(24 + 4 * i, to[i])
    }
  }

  private words(own: boolean): [number, number, number, number] {
    const text = this.v6 ? (own ? '2001:db8::2' : '2001:db8::1') : own ? '10.0.0.2' : '10.0.0.1'
    return parseAddress(text) as [number, number, number, number]
  }

  private note(mark: string, text: string): void {
    this.transcript.push(`${(this.clock.now - this.start).toFixed(3).padStart(12)} ${mark} ${text}`)
  }

  private fail(text: string): void {
    const state = this.connections.length > 0 ? ` in ${printState((this.connections.at(-1) as TcpConnection).state)}` : ''
    throw new Error(`${text}${state}\n${this.transcript.slice(-40).join('\n')}`)
  }
}
