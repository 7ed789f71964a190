// Owns: playing a situation on a subject: what is done to it step by step, and all it sends in each, written down.

import { printPacket } from '@tun/stack'
import {
  ACK,
  type Bases,
  buildPacket,
  encodeOptions,
  parseLine,
  printSeen,
  RST,
  readPacket,
  type Seen,
  SYN,
  type Symbols,
} from './notation.js'
import type { Subject, SubjectOptions } from './subject.js'

/** Longer than a delayed ACK of either side (40 ms), shorter than any retransmission (200 ms). */
const SETTLE = 60 // ms
/** Whoever answers at once has done so by then. */
const AT_ONCE = 8 // ms
/** The peer's ISN: its numbers wrap after 512 bytes. */
const PEER_ISS = -512
/** The peer's TS clock at its SYN: goes over the sign within 16 segments. */
const PEER_TS = 0x7ffffff0

/** One rule, as a script. `rule` is where it is written. */
export interface Situation {
  name: string
  rule: string
  options?: SubjectOptions
  play(p: Player): Promise<void>
}

/** What was done, and what came of it: the application's answer first, then every packet. */
export interface Step {
  did: string
  came: string[]
}

export interface EstablishOptions {
  options?: string
  win?: number
  /** Milliseconds between SYN-ACK and ACK: what the subject takes for the round trip. */
  rtt?: number
}

export const ALL_OPTIONS = 'mss 1460, sackOK, ts 0, wscale 7'

export class Player {
  readonly steps: Step[] = []
  private readonly subject: Subject
  private readonly bases: Bases = { peerIss: PEER_ISS, ownIss: 0, peerTs: PEER_TS, ownTs: 0, ownSynTs: 0 }
  private win = 65_535
  private peerOffered = false
  private ownOffered = false
  private peerTs = 0
  private peerScales = false
  private ownShift = 0
  private edge = 0
  private ownNxt = 0
  private recording = true
  private written = 0
  private marked: number | null = null

  constructor(subject: Subject) {
    this.subject = subject
  }

  /** A segment from the peer, then time for all that it causes. */
  recv(line: string, settle = SETTLE): Promise<void> {
    return this.step(`< ${line}`, settle, () => this.inject(line))
  }

  /** The same, but only what comes at once counts: a delayed ACK comes in a later step. */
  quick(line: string): Promise<void> {
    return this.step(`< ${line}`, AT_ONCE, () => this.inject(line))
  }

  /** Segments back to back. */
  burst(...lines: string[]): Promise<void> {
    return this.step(`< ${lines.join(' | ')}`, SETTLE, () => {
      for (const line of lines) this.inject(line)
    })
  }

  /** A verb of the application (see Subject), then time for all that it causes; less once `packets` have come of it. */
  async app(verb: string, packets = Infinity): Promise<void> {
    const came: string[] = []
    if (verb.startsWith('write ')) this.written += Number(verb.slice(6))
    let answer = await this.subject.app(verb)
    if (this.marked !== null) answer = answer.replace(/^\d+ bytes/, 'bytes') // as many as the subject's own buffer took
    if (answer) came.push(`"${answer}"`)
    const { outbox } = this.subject
    await this.subject.pass(packets === 0 ? 0 : SETTLE, () => outbox.length >= packets)
    this.note(`# ${verb}`, came)
  }

  /** Time; less once `packets` have come. */
  wait(ms: number, packets = Infinity): Promise<void> {
    const { outbox } = this.subject
    return this.step(
      packets === Infinity ? `· ${ms} ms` : `· until ${packets} came, at most ${ms} ms`,
      ms,
      () => {},
      () => outbox.length >= packets,
    )
  }

  /** Handshake up to the accepted socket. */
  async establish({ options = 'mss 1460', win = 65_535, rtt = 0 }: EstablishOptions = {}): Promise<void> {
    const { outbox } = this.subject
    const syn = `S 0:0 win ${win} <${options}>`
    await this.step(
      `< ${syn}`,
      500,
      () => this.inject(syn),
      () => outbox.length > 0,
    )
    if (rtt > 0) await this.subject.pass(rtt)
    await this.step(`< A 1:1 ack 1`, 0, () => this.inject('A 1:1 ack 1'))
    await this.app('accept', 0)
  }

  /**
   * Ten bytes each way, a few times, and quickly: behind that a kernel thinks of a conversation and delays its ACKs, which it sends at once
   * to a new peer in slow start. `from` is the next number of both sides; answers the next one.
   */
  async converse(from: number): Promise<number> {
    let at = from
    await this.unrecorded(async () => {
      for (let i = 0; i < 6; i++, at += 10) {
        this.inject(`PA ${at}:${at + 10} ack ${at}`)
        await this.app('read', 0)
        await this.app('write 10', 1)
      }
      await this.quick(`A ${at}:${at} ack ${at}`)
      await this.wait(60)
    })
    return at
  }

  /** Runs what is only preparation and may differ: nothing of it is written down. */
  async unrecorded(run: () => Promise<void>): Promise<void> {
    this.recording = false
    await run()
    this.recording = true
    this.steps.push({ did: '(unrecorded)', came: [] })
  }

  /** From here on `M` is this number of the peer's, and what the subject acknowledges is told as counted from it. */
  mark(seq: number): void {
    this.marked = seq
  }

  get symbols(): Symbols {
    return { E: this.edge, N: this.ownNxt, M: this.marked ?? 0 }
  }

  private async step(did: string, ms: number, act: () => void, enough?: () => boolean): Promise<void> {
    act()
    await this.subject.pass(ms, enough)
    this.note(did, [])
  }

  private note(did: string, came: string[]): void {
    for (const packet of this.subject.outbox.splice(0)) {
      const seen = readPacket(packet)
      if (seen === null) {
        came.push(printPacket(packet).replace(/^.*?: /, ''))
        continue
      }
      this.learn(seen)
      came.push(printSeen(seen, this.bases, this.written, this.marked))
    }
    if (this.recording) this.steps.push({ did, came })
  }

  private inject(text: string): void {
    const { bases } = this
    const line = parseLine(text, this.symbols)
    if (line.win !== null) this.win = line.win
    if (line.options !== null) {
      const ts = /\bts (-?\d+)/.exec(line.options)
      if (ts) this.peerTs = Number(ts[1])
      if (line.flags & SYN) {
        this.peerOffered = ts !== null
        this.peerScales = line.options.includes('wscale')
      }
    } else if (this.peerOffered && this.ownOffered && !(line.flags & RST)) line.options = `ts ${++this.peerTs}`
    const options = encodeOptions(line.options ?? '', bases)
    this.subject.inject(buildPacket(line, options, line.win ?? this.win, this.subject.ends, bases))
  }

  private learn(seen: Seen): void {
    const { bases } = this
    if (seen.flags & SYN) {
      bases.ownIss = seen.seq
      this.ownOffered = seen.ts !== null
      bases.ownSynTs = seen.ts?.val ?? 0
      this.ownShift = this.peerScales && seen.wscale > 0 ? seen.wscale : 0
      this.edge = 0
    }
    if (seen.flags & RST) return
    if (seen.ts) bases.ownTs = seen.ts.val
    const bits = (seen.flags & SYN ? 1 : 0) + (seen.flags & 1)
    this.ownNxt = Math.max(this.ownNxt, ((seen.seq - bases.ownIss) | 0) + seen.text.length + bits)
    if (seen.flags & ACK) {
      const edge = ((seen.ack - bases.peerIss) | 0) + (seen.flags & SYN ? seen.win : seen.win << this.ownShift)
      this.edge = Math.max(this.edge, edge)
    }
  }
}
