// Owns: whom each flow has written to, where replies are filtered by that; without a filter nothing is kept.
// Read first: RFC 4787 §5 (the three ways to filter) and §4.3 (an entry lives as long as the mapping, refreshed from inside).

import { FlowTable, KEY_WORDS } from '../memory/flow-table.js'
import type { Millis } from '../memory/slab.js'
import type { UdpFlow } from './flow.js'

/** Whose datagrams reach the application's socket: anybody's; of addresses it has written to; of those addresses and ports. */
export type UdpFilter = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

/** Of one flow; the oldest is forgotten. A host that scans an address range would fill memory otherwise. */
const MAX_CONTACTS = 1024

export class Contact {
  readonly key: Int32Array
  at: Millis

  constructor(key: Int32Array, at: Millis) {
    this.key = key
    this.at = at
  }
}

export class Contacts {
  private readonly filter: UdpFilter
  private readonly table: FlowTable<Contact>

  constructor(filter: UdpFilter, k0: number, k1: number) {
    this.filter = filter
    this.table = new FlowTable(k0, k1)
  }

  get size(): number {
    return this.table.size
  }

  /** The application has written to (d, port). */
  note(flow: UdpFlow, d0: number, d1: number, d2: number, d3: number, port: number, now: Millis): void {
    if (this.filter === 'endpoint-independent') return
    this.setKey(flow, d0, d1, d2, d3, port)
    const known = this.table.find()
    if (known !== undefined) {
      known.at = now
      flow.contacts.delete(known) // the newest stands last
      flow.contacts.add(known)
      return
    }
    const contact = new Contact(this.table.key.slice(0, KEY_WORDS), now)
    this.table.add(contact)
    flow.contacts.add(contact)
    if (flow.contacts.size <= MAX_CONTACTS) return
    for (const oldest of flow.contacts) {
      this.forget(flow, oldest)
      return
    }
  }

  /** May a datagram from (s, port) reach the flow's socket? */
  permits(flow: UdpFlow, s0: number, s1: number, s2: number, s3: number, port: number, now: Millis): boolean {
    if (this.filter === 'endpoint-independent') return true
    this.setKey(flow, s0, s1, s2, s3, port)
    const contact = this.table.find()
    return contact !== undefined && now - contact.at <= flow.idleTimeout
  }

  /** The flow is over. */
  forgetAll(flow: UdpFlow): void {
    for (const contact of flow.contacts) this.forget(flow, contact)
  }

  private forget(flow: UdpFlow, contact: Contact): void {
    flow.contacts.delete(contact)
    this.table.key.set(contact.key)
    this.table.delete()
  }

  private setKey({ s0, s1, s2, s3, srcPort }: UdpFlow, d0: number, d1: number, d2: number, d3: number, port: number): void {
    this.table.setKey(s0, s1, s2, s3, d0, d1, d2, d3, srcPort, this.filter === 'address-dependent' ? 0 : port)
  }
}
