// Owns: what becomes of a ping that the stack does not answer itself: 'icmp' with the name behind its address, or a refusal.

import { setMaxListeners } from 'node:events'
import { type Echo, errnoError, formatAddress, TunEcho } from '@tun/stack'
import type { ArrivalScope } from './arrival-scope.js'
import { decide } from './emitter.js'
import type { Named } from './name-service.js'

/** One more that waits for a name is dropped, as a full queue would. */
const MAX_WAITING = 256

export class ArrivingPings {
  private readonly scope: ArrivalScope
  /** Those whose destination's name other gateways are asked for. */
  private waiting = 0
  /** Aborts when all is over. */
  private readonly ending = new AbortController()

  constructor(scope: ArrivalScope) {
    this.scope = scope
    setMaxListeners(0, this.ending.signal) // pings, and the lookups of their names, listen to it
  }

  /** StackEvents.echo. */
  request(e: Echo): void {
    if (this.scope.isClosing()) return
    const found = this.scope.names?.find(formatAddress(e.d0, e.d1, e.d2, e.d3))
    if (found instanceof Promise && this.waiting === MAX_WAITING) return
    const echo = new TunEcho(e, this.scope.stack, this.scope.driver, this.ending.signal)
    if (!(found instanceof Promise)) return this.announce(echo, found)
    this.waiting++
    void found.then(named => {
      this.waiting--
      if (!this.scope.isOver()) this.announce(echo, named)
    })
  }

  /** Those on their way are given up. */
  end(): void {
    this.ending.abort(errnoError('ECONNABORTED', 'ping'))
  }

  private announce(echo: TunEcho, named: Named | undefined | null): void {
    if (named === null) return void echo.unreachable()
    if (named) Object.assign(echo.destination, named.real ? named : { host: named.host })
    if (!decide(this.scope.events, 'icmp', [echo], error => this.scope.listenerFailed(error, echo))) echo.unreachable('prohibited')
  }
}
