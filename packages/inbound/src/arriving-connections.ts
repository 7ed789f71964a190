// Owns: what becomes of a connection that arrives: DNS, a service that listens there, else 'connection' with the name behind its address.

import { formatAddress, GONE_EVENT, REQUEST, type TcpConnection, TunSocket } from '@tun/stack'
import type { ArrivalScope } from './arrival-scope.js'
import { DnsStreams } from './dns-hijack.js'
import { attempt, decide } from './emitter.js'
import type { Named } from './name-service.js'

export class ArrivingConnections {
  private readonly scope: ArrivalScope
  private dnsStreams: DnsStreams | undefined

  constructor(scope: ArrivalScope) {
    this.scope = scope
  }

  /** StackEvents.tcp. */
  happened(c: TcpConnection, bits: number): void {
    if (bits & REQUEST) this.request(c)
    if (c.user instanceof TunSocket) c.user.happened(bits)
    if (bits & GONE_EVENT) {
      this.scope.pins?.unpin(c)
      c.user = null
    }
  }

  private request(c: TcpConnection): void {
    const { driver, names, places } = this.scope
    if (this.scope.isClosing()) return c.reject('refused')
    const { l0, l1, l2, l3, localPort } = c
    if (names !== null && places.isDns(localPort, l0, l1, l2, l3)) {
      const socket = new TunSocket(c, driver).accept()
      return (this.dnsStreams ??= new DnsStreams(names.server)).serve(socket, socket)
    }
    const serve = places.streamServiceAt(localPort, l0, l1, l2, l3)
    if (serve) {
      const socket = new TunSocket(c, driver)
      return attempt(
        () => serve(socket),
        error => this.scope.listenerFailed(error, socket),
      )
    }
    const found = names?.find(formatAddress(l0, l1, l2, l3))
    if (found === null) return c.reject('host-unreachable')
    const socket = new TunSocket(c, driver)
    if (!(found instanceof Promise)) return this.announce(c, socket, found)
    // Other gateways are asked for the name; meanwhile the application waits in its connect, and may give up.
    socket.on('error', ignore)
    void found.then(named => {
      if (this.scope.isOver() || socket.destroyed) return
      socket.off('error', ignore)
      if (named === null) socket.reject('host-unreachable')
      else this.announce(c, socket, named)
    })
  }

  private announce(c: TcpConnection, socket: TunSocket, named: Named | undefined): void {
    if (named && !named.real) this.scope.pins?.pin(c, socket.destination.address)
    if (named !== undefined) {
      Object.assign(socket.destination, named.real ? named : { host: named.host })
      socket.hostSource = named.real ? 'dns' : 'fake-ip'
    }
    if (!decide(this.scope.events, 'connection', [socket], error => this.scope.listenerFailed(error, socket))) socket.reject('refused')
  }
}

function ignore(): void {}
