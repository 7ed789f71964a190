// Owns: what becomes of a datagram that arrives: DNS, a service that listens there, the relay that carries its flow, else 'flow' with
// 'message', or 'datagram'.

import { type Datagram, formatAddress, TunDatagram, TunFlow, throwLater, type UdpFlow, UdpPort, type Undelivered } from '@tun/stack'
import type { ArrivalScope } from './arrival-scope.js'
import { answerDatagram } from './dns-hijack.js'
import { attempt, decide } from './emitter.js'
import type { Named } from './name-service.js'

/** One more that waits for a name is dropped, as a full queue would. */
const MAX_WAITING = 1024

export class ArrivingDatagrams {
  private readonly scope: ArrivalScope
  private readonly port: UdpPort
  /** Those whose destination's name other gateways are asked for. */
  private waiting = 0
  /** Flows that 'flow' listeners were told of. */
  private readonly announced = new WeakSet<TunFlow>()

  constructor(scope: ArrivalScope) {
    this.scope = scope
    this.port = new UdpPort(scope.stack, scope.driver)
  }

  /** StackEvents.carry: on a way its flow's relay knows, so that neither name nor listener is asked for again. */
  carry(d: Datagram): boolean {
    const flow = d.flow?.user
    return flow instanceof TunFlow && flow.carrier !== null && this.scope.events.listenerCount('flow') > 0 && flow.carry(d)
  }

  /** StackEvents.datagram. */
  datagram(d: Datagram): void {
    if (d.flow === null) return this.serve(d)
    const udp = d.flow
    const found = this.scope.names?.find(formatAddress(d.d0, d.d1, d.d2, d.d3))
    if (found === null) return new TunDatagram(d, this.port, null, undefined).reject('host')
    const datagram = new TunDatagram(d, this.port, this.flowOf(udp), undefined)
    if (!(found instanceof Promise)) return this.deliver(datagram, udp, found)
    if (this.waiting === MAX_WAITING) return
    this.waiting++
    void found.then(named => {
      this.waiting--
      if (this.scope.isOver() || datagram.flow?.closed) return
      if (named === null) datagram.reject('host')
      else this.deliver(datagram, udp, named)
    })
  }

  private deliver(datagram: TunDatagram, udp: UdpFlow, named: Named | undefined): void {
    const { events } = this.scope
    const { destination } = datagram
    const flow = this.flowOf(udp)
    if (named && !named.real) this.scope.pins?.pin(udp, destination.address)
    if (named) destination.host = named.host
    if (named?.real) destination.real = true
    if (events.listenerCount('flow') > 0) {
      if (!this.announced.has(flow)) {
        this.announced.add(flow)
        decide(events, 'flow', [flow], error => this.scope.listenerFailed(error, flow))
      }
      if (flow.listenerCount('message') === 0) return datagram.reject()
      decide(flow, 'message', [datagram.payload, destination, datagram.ttl], error => this.scope.listenerFailed(error, flow))
    } else if (!decide(events, 'datagram', [datagram], error => this.scope.listenerFailed(error, datagram))) datagram.reject()
  }

  private flowOf(udp: UdpFlow): TunFlow {
    return udp.user instanceof TunFlow ? udp.user : new TunFlow(udp, this.port)
  }

  private serve(d: Datagram): void {
    const { names, places } = this.scope
    const datagram = new TunDatagram(d, this.port, null, undefined)
    if (names !== null && places.isDns(d.dstPort, d.d0, d.d1, d.d2, d.d3)) return answerDatagram(names.server, datagram)
    const serve = places.datagramServiceAt(d.dstPort, d.d0, d.d1, d.d2, d.d3)
    if (!serve) return datagram.reject()
    attempt(
      () => serve(datagram),
      error => this.scope.listenerFailed(error, datagram),
    )
  }

  /** StackEvents.undelivered. */
  undelivered({ flow: { user: flow }, from: [w0, w1, w2, w3, port], type, code }: Undelivered): void {
    if (!(flow instanceof TunFlow) || flow.closed) return
    const from = { address: formatAddress(w0, w1, w2, w3), port, family: flow.source.family }
    decide(flow, 'undelivered', [from, { type, code }], error => this.scope.listenerFailed(error, flow))
  }

  /** StackEvents.flowEnded. */
  ended(flow: UdpFlow): void {
    this.scope.pins?.unpin(flow)
    if (flow.user instanceof TunFlow) {
      flow.user.closed = true
      decide(flow.user, 'close', [], throwLater)
    }
    flow.user = null
  }
}
