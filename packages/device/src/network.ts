// Owns: which way leads out of this machine: the interface of the default route that is no TUN, and the addresses to bind to so that
// sockets take it. Told of changes by the kernel (rtnetlink), never by asking again and again. Linux. rtnetlink(7), ip-route(8).

import { type Netlink, openNetlink } from '@tun/native'
import { Paced } from './paced.js'
import { type Address, type DefaultRoute, dumpRequest, GROUPS, type Link, type Message, messages, RTM } from './rtnetlink.js'

/** Where unbound sockets would go without the TUN. */
export interface Uplink {
  /** Of the default route of IPv4; without one, of IPv6's. */
  interface: string
  /** Source addresses of sockets that are to leave by it; undefined: no default route of that family, or no address. */
  localAddress4: string | undefined
  localAddress6: string | undefined
}

/** What the kernel has told. */
export interface Network {
  links: readonly Link[]
  addresses: readonly Address[]
  routes: readonly DefaultRoute[]
}

/** The way out, judged as the kernel does: the lowest metric of the main table, the first address that fits. */
export function uplinkOf({ links, addresses, routes }: Network): Uplink | undefined {
  const usable = new Map(links.filter(link => link.up && !link.tun).map(link => [link.index, link]))
  const way = (family: 4 | 6) =>
    routes.filter(route => route.family === family && usable.has(route.index)).sort((a, b) => a.metric - b.metric)[0] as
      | DefaultRoute
      | undefined
  const source = (family: 4 | 6, route: DefaultRoute | undefined) => {
    if (route === undefined || route.source !== undefined) return route?.source
    const own = addresses.filter(address => address.family === family && address.index === route.index && address.usable)
    // Who has temporary addresses wants to be seen by them: RFC 6724 §5, rule 7.
    return (own.find(address => address.temporary) ?? own[0])?.address
  }
  const [way4, way6] = [way(4), way(6)]
  const link = usable.get((way4 ?? way6)?.index ?? -1)
  return link && { interface: link.name, localAddress4: source(4, way4), localAddress6: source(6, way6) }
}

/** Longer than any datagram of a dump; one for all, for each is read before the next comes. */
let buffer: Uint8Array | undefined
const MAX_RECORDS = 65_536
/** Datagrams of one wake-up: a flood of them does not keep us here. */
const TURN = 256

/** What `socket` has waiting, message by message; `lost`: some were dropped by the kernel. At most `limit` datagrams. */
export function readWaiting(socket: Netlink, take: (message: Message) => void, lost: () => void, limit = Infinity): void {
  buffer ??= new Uint8Array(65_536)
  for (let i = 0; i < limit; i++) {
    const length = socket.receive(buffer)
    if (length === 0) return
    if (length < 0) lost()
    else for (const message of messages(buffer.subarray(0, length))) take(message)
  }
}

/** Asks the kernel now. Throws NativeError where there is no netlink. */
export function readNetwork(): Network {
  const links: Link[] = []
  const addresses: Address[] = []
  const routes: DefaultRoute[] = []
  const socket = openNetlink({ groups: 0 })
  try {
    for (const type of [RTM.getLink, RTM.getAddr, RTM.getRoute]) {
      socket.send(dumpRequest(type))
      // A dump is made while it is read: there is always more to read until its end.
      readWaiting(
        socket,
        message => {
          if (message.type === 'link') push(links, message.link)
          else if (message.type === 'address') push(addresses, message.address)
          else if (message.type === 'route') push(routes, message.route)
        },
        () => {},
      )
    }
  } finally {
    socket.close()
  }
  return { links, addresses, routes }
}

function push<T>(list: T[], item: T): void {
  if (list.length < MAX_RECORDS) list.push(item)
}

/** Follows the machine's network. It keeps no process alive. */
export class NetworkMonitor {
  private readonly socket: Netlink
  private readonly changed: (uplink: Uplink | undefined) => void
  private known: Uplink | undefined
  private closed = false
  /** A router's table takes long to read, and its routes may flap. */
  private readonly reading = new Paced(() => this.readAnew())

  private constructor(socket: Netlink, changed: (uplink: Uplink | undefined) => void) {
    this.socket = socket
    this.changed = changed
    socket.unref()
    socket.watch(() => this.waiting())
    this.known = uplinkOf(readNetwork())
  }

  /** `changed` is called when the uplink, or an address of it, is another one. Undefined where nobody tells: not Linux, no addon. */
  static open(changed: (uplink: Uplink | undefined) => void): NetworkMonitor | undefined {
    let socket: Netlink | undefined
    try {
      socket = openNetlink({ groups: GROUPS.link | GROUPS.address | GROUPS.route })
      return new NetworkMonitor(socket, changed)
    } catch {
      socket?.close()
      return undefined
    }
  }

  /** As of the last thing that the kernel has told. */
  get uplink(): Uplink | undefined {
    return this.known
  }

  /** Idempotent. */
  close(): void {
    this.closed = true
    this.reading.stop()
    this.socket.close()
  }

  private waiting(): void {
    let relevant = false
    const note = () => {
      relevant = true
    }
    try {
      readWaiting(this.socket, note, note, TURN)
    } catch {
      return this.close() // or it would be called again, and again
    }
    if (relevant) this.reading.ask()
  }

  private readAnew(): void {
    if (this.closed) return
    let network: Network
    try {
      // Read anew, not kept up to date: of IPv4 routes that go with their interface or address, nothing is told.
      network = readNetwork()
    } catch {
      return // no descriptors left, perhaps: the next change finds out
    }
    this.look(uplinkOf(network))
  }

  private look(uplink: Uplink | undefined): void {
    const same = (['interface', 'localAddress4', 'localAddress6'] as const).every(key => uplink?.[key] === this.known?.[key])
    this.known = uplink
    if (!same && !this.closed) this.changed(uplink)
  }
}
