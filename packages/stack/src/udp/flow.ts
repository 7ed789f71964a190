// Owns: UDP as flows by source: one flow for everything an application's socket sends, wherever to (endpoint-independent mapping).
// Read first: RFC 4787 §4.1, §4.3 (idle time); contacts.ts for §5 (filters).

import type { End } from '../ip/fragments.js'
import type { Sender } from '../ip/output.js'
import { ArrivalList, type Listed } from '../memory/arrival-list.js'
import type { DeadlineHeap, Wakeable } from '../memory/deadline-heap.js'
import { FlowTable } from '../memory/flow-table.js'
import type { Millis } from '../memory/slab.js'
import type { Stats } from '../stats.js'
import { type Contact, Contacts, type UdpFilter } from './contacts.js'

/** A flow that only ever wrote to port 53 ends after this; RFC 4787 REQ-5(a) allows it for well-known ports. */
const DNS_TIMEOUT = 30_000 // ms
const DNS_PORT = 53

/** Of flows without a filter. */
const NOBODY = new Set<Contact>()

export class UdpFlow implements Wakeable, Sender, Listed<UdpFlow> {
  readonly v4: boolean
  /** The application's socket. */
  readonly s0: number
  readonly s1: number
  readonly s2: number
  readonly s3: number
  readonly srcPort: number
  /** All of it together. */
  readonly source: End
  private readonly flows: UdpFlows
  /** Idle for this long, it ends; milliseconds. */
  idleTimeout: Millis
  /** It has asked nameservers only, so far: it ends early. */
  onlyDns = false
  lastAt: Millis = 0
  deadline: Millis = Infinity
  heapIndex = -1
  closed = false
  /** Bytes of datagrams to it that wait for the NIC; see ip/output.ts. */
  waiting = 0
  /** Whom it has written to, where that is asked; see contacts.ts. */
  readonly contacts: Set<Contact>
  // Neighbours by last use.
  older: UdpFlow | null = null
  newer: UdpFlow | null = null
  /** Whatever the layer above hangs on it. */
  user: unknown = null
  /** Addresses that the layer above holds for it. */
  pinned: string | Set<string> | null = null

  constructor(flows: UdpFlows, v4: boolean, s0: number, s1: number, s2: number, s3: number, srcPort: number, idleTimeout: Millis) {
    this.flows = flows
    this.v4 = v4
    this.s0 = s0
    this.s1 = s1
    this.s2 = s2
    this.s3 = s3
    this.srcPort = srcPort
    this.source = [s0, s1, s2, s3, srcPort]
    this.idleTimeout = idleTimeout
    this.contacts = flows.contacts === null ? NOBODY : new Set()
  }

  wake(now: Millis): void {
    // Not `now − lastAt`: rounded, that may say "not yet" at the very deadline, for ever.
    if (now >= this.lastAt + this.idleTimeout) this.flows.close(this)
    else {
      this.deadline = this.lastAt + this.idleTimeout
      this.flows.heap.update(this)
    }
  }
}

export interface FlowOptions {
  readonly maxUdpFlows: number
  readonly udpTimeout: Millis
  readonly udpFilter: UdpFilter
}

export class UdpFlows {
  readonly heap: DeadlineHeap<Wakeable>
  /** Flows that ended since the last drain. */
  readonly ended: UdpFlow[] = []
  private readonly stats: Stats
  private readonly table: FlowTable<UdpFlow>
  private readonly limit: number
  private readonly idleTimeout: Millis
  /** By last use. */
  private readonly used = new ArrivalList<UdpFlow>()

  /** null: no filter. */
  readonly contacts: Contacts | null

  constructor(heap: DeadlineHeap<Wakeable>, stats: Stats, options: FlowOptions, random32: () => number) {
    this.heap = heap
    this.stats = stats
    this.limit = options.maxUdpFlows
    this.idleTimeout = options.udpTimeout
    this.table = new FlowTable(random32(), random32())
    this.contacts = options.udpFilter === 'endpoint-independent' ? null : new Contacts(options.udpFilter, random32(), random32())
  }

  get size(): number {
    return this.table.size
  }

  find(s0: number, s1: number, s2: number, s3: number, srcPort: number): UdpFlow | undefined {
    this.table.setKey(s0, s1, s2, s3, 0, 0, 0, 0, srcPort, 0)
    return this.table.find()
  }

  /**
   * The flow of this source for a datagram to `dstPort`, made if it is new;
   * the least recently used one makes room where the bound is reached.
   */
  of(v4: boolean, s0: number, s1: number, s2: number, s3: number, srcPort: number, dstPort: number, now: Millis): UdpFlow {
    this.table.setKey(s0, s1, s2, s3, 0, 0, 0, 0, srcPort, 0)
    let flow = this.table.find()
    const isNew = flow === undefined
    if (flow === undefined) {
      if (this.table.size >= this.limit && this.used.oldest !== null) {
        this.stats.udpFlowsEvicted++
        this.close(this.used.oldest)
        this.table.setKey(s0, s1, s2, s3, 0, 0, 0, 0, srcPort, 0)
      }
      flow = new UdpFlow(this, v4, s0, s1, s2, s3, srcPort, this.idleTimeout)
      this.table.add(flow)
      this.used.add(flow)
    }
    if (isNew) this.expectDns(flow, dstPort)
    else if (flow.onlyDns && dstPort !== DNS_PORT) this.setIdleTimeout(flow, this.idleTimeout)
    this.touch(flow, now)
    return flow
  }

  /** From now on, and whatever the flow is used for. */
  setIdleTimeout(flow: UdpFlow, idleTimeout: Millis): void {
    flow.idleTimeout = idleTimeout
    flow.onlyDns = false
  }

  private expectDns(flow: UdpFlow, dstPort: number): void {
    if (dstPort !== DNS_PORT || this.idleTimeout <= DNS_TIMEOUT) return
    flow.idleTimeout = DNS_TIMEOUT
    flow.onlyDns = true
  }

  /** The flow is in use (either direction): RFC 4787 REQ-6 asks for outbound refresh, inbound may refresh too. */
  touch(flow: UdpFlow, now: Millis): void {
    if (flow.closed) return
    if (flow !== this.used.newest) {
      this.used.delete(flow)
      this.used.add(flow)
    }
    flow.lastAt = now
    flow.deadline = now + flow.idleTimeout
    this.heap.update(flow)
  }

  close(flow: UdpFlow): void {
    if (flow.closed) return
    flow.closed = true
    flow.deadline = Infinity
    this.heap.remove(flow)
    this.used.delete(flow)
    this.table.setKey(flow.s0, flow.s1, flow.s2, flow.s3, 0, 0, 0, 0, flow.srcPort, 0)
    this.table.delete()
    this.contacts?.forgetAll(flow)
    this.ended.push(flow)
  }

  [Symbol.iterator](): IterableIterator<UdpFlow> {
    return this.table[Symbol.iterator]()
  }
}
