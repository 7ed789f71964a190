// Owns: the Linux kernel's TCP as a subject: a TUN in a namespace of its own, whose packets are the script's, and the application on the
// kernel's sockets (application.py). Many situations share both; each has a peer address and a port to itself, so nothing is remembered
// from one for another (tcp_metrics goes by address).

import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openTun, type TunDevice } from '@tun/device'
import { type Bytes, PacketBatch, Slab, TX_HEADER_ROOM } from '@tun/stack'
import { layoutOf } from '@tun/stack/testing'
import { ip, Lab, type Namespace, type Program } from '../../../scripts/lab/lab.mjs'
import { findBinary } from '../../../scripts/peers.mjs'
import type { Ends } from './notation.js'
import type { Subject, SubjectOptions } from './subject.js'

const MTU = 1500
const OWN4 = [10, 77, 0, 1]
const OWN6 = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
const FIRST_PORT = 2000
/** What the kernel comes with (ip-sysctl.rst), for a machine that was tuned; but Reno, which every namespace may use. */
const AS_DELIVERED: Record<string, string> = {
  tcp_congestion_control: 'reno',
  tcp_sack: '1',
  tcp_dsack: '1',
  tcp_timestamps: '1',
  tcp_window_scaling: '1',
  tcp_rmem: '4096 131072 6291456',
  tcp_recovery: '1',
  tcp_early_retrans: '3',
  tcp_rfc1337: '0',
  tcp_syncookies: '1',
  tcp_abort_on_overflow: '0',
  tcp_ecn: '2',
  tcp_tw_reuse: '2',
  tcp_fin_timeout: '60',
  tcp_retries2: '15',
}
/** A timer that comes this much too late says that the machine stood still: what a play saw then is no evidence. */
const STALLED = 15 // ms
const ANSWER_TIMEOUT = 3000

export class KernelLab {
  private readonly lab = new Lab()
  private readonly namespace: Namespace
  private readonly device: TunDevice
  private readonly rx = new PacketBatch(new Slab(256 * 1024), 128)
  private readonly tx = PacketBatch.forSending(1)
  private readonly program: Program
  private readonly subjects = new Map<string, KernelSubject>()
  private readonly asked = new Map<number, (answer: string) => void>()
  private questions = 0
  private plays = 0

  private constructor() {
    this.namespace = this.lab.namespace('kernel')
    for (const [key, value] of Object.entries(AS_DELIVERED)) this.namespace.sysctl(`net.ipv4.${key}`, value)
    // A TUN keeps its descriptor when its interface moves to another namespace.
    const name = `tundiff${process.pid % 100_000}`
    this.device = openTun(`dev://${name}`, { offload: false, mtu: MTU, up: false })
    try {
      ip('link', 'set', name, 'netns', this.namespace.name)
      this.namespace.ip('link', 'set', name, 'addrgenmode', 'none', 'up')
      this.namespace.address(`${OWN4.join('.')}/16`, name)
      this.namespace.address(`${text(Uint8Array.from(OWN6))}/64`, name)
      this.program = this.namespace.start(findBinary('python3')!, [fileURLToPath(new URL('./application.py', import.meta.url))])
    } catch (error) {
      this.close()
      throw error
    }
    createInterface({ input: this.program.child.stdout! }).on('line', line => this.answered(line))
    this.device.onReadable(() => this.readable())
  }

  static async open(): Promise<KernelLab> {
    const lab = new KernelLab()
    await lab.program.waitFor(/^ready$/)
    return lab
  }

  close(): void {
    this.device.close()
    this.lab.close()
  }

  async subject(options: SubjectOptions): Promise<KernelSubject> {
    const play = ++this.plays
    const low = [play >> 8, play & 255]
    const peer = options.v6 ? [...OWN6.slice(0, 14), ...low] : [10, 77, 128 + low[0], low[1]]
    if (options.v6) peer[13] = 1
    const ends: Ends = {
      peer: Uint8Array.from(peer),
      own: Uint8Array.from(options.v6 ? OWN6 : OWN4),
      peerPort: 40_000,
      ownPort: FIRST_PORT + play,
    }
    const subject = new KernelSubject(this, ends)
    this.subjects.set(subject.key, subject)
    if (!options.closed) await this.ask(subject.key, `listen ${text(ends.own)} ${ends.ownPort} ${options.rcvBuf ?? 0}`)
    return subject
  }

  async leave(subject: KernelSubject): Promise<void> {
    await this.ask(subject.key, 'forget')
    this.subjects.delete(subject.key)
  }

  async ask(key: string, verb: string): Promise<string> {
    const number = ++this.questions
    if (!this.program.running) throw new Error(`the kernel's application has ended\n${this.program.tail()}`)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${verb}: no answer\n${this.program.tail()}`)), ANSWER_TIMEOUT)
      this.asked.set(number, answer => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.program.child.stdin!.write(`${JSON.stringify([number, key, verb])}\n`)
    })
  }

  send(packet: Bytes): void {
    const { tx } = this
    const at = tx.beginRow()
    const headers = Math.min(packet.length, TX_HEADER_ROOM)
    tx.slab.bytes.set(packet.subarray(0, headers), at)
    if (packet.length > headers) tx.addPiece(packet, headers, packet.length - headers, null)
    tx.finishRow(headers)
    this.device.write(tx)
    tx.reset()
    this.readable() // the kernel has answered before write(2) returned
  }

  private answered(line: string): void {
    if (!line.startsWith('[')) return
    const [number, answer] = JSON.parse(line) as [number, string]
    this.asked.get(number)?.(answer)
    this.asked.delete(number)
  }

  private readable(): void {
    const { rx, device } = this
    for (;;) {
      const rows = device.read(rx)
      for (let row = 0; row < rx.count; row++) {
        const packet = rx.slab.bytes.slice(rx.start[row], rx.start[row] + rx.length[row])
        this.subjects.get(destination(packet))?.outbox.push(packet)
      }
      rx.count = 0
      rx.used = 0
      if (rows === 0) return
    }
  }
}

export class KernelSubject implements Subject {
  readonly ends: Ends
  readonly outbox: Bytes[] = []
  /** The machine stood still in the middle of it. */
  disturbed = false
  readonly key: string
  private readonly lab: KernelLab

  constructor(lab: KernelLab, ends: Ends) {
    this.lab = lab
    this.ends = ends
    this.key = text(ends.peer)
  }

  inject(packet: Bytes): void {
    this.lab.send(packet)
  }

  async pass(ms: number, enough?: () => boolean): Promise<void> {
    const start = performance.now()
    const end = start + ms
    for (let now = start; now < end && !enough?.(); now = performance.now()) {
      const nap = enough ? Math.min(2, end - now) : end - now
      await new Promise(resolve => setTimeout(resolve, nap))
      if (performance.now() - now - nap > STALLED) this.disturbed = true
    }
  }

  app(verb: string): Promise<string> {
    const { own, ownPort, peer, peerPort } = this.ends
    const asked = performance.now()
    const full = verb === 'connect' ? `connect ${text(own)} ${ownPort} ${text(peer)} ${peerPort}` : verb
    return this.lab.ask(this.key, full).then(answer => {
      if (performance.now() - asked > STALLED) this.disturbed = true
      return answer
    })
  }

  close(): Promise<void> {
    return this.lab.leave(this)
  }
}

/** Whom a packet is for, as text. */
function destination(packet: Bytes): string {
  return layoutOf(packet).family === 4 ? text(packet.subarray(16, 20)) : text(packet.subarray(24, 40))
}

function text(address: Bytes): string {
  if (address.length === 4) return address.join('.')
  return Array.from({ length: 8 }, (_, i) => ((address[2 * i] << 8) | address[2 * i + 1]).toString(16)).join(':')
}
