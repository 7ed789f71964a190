// Owns: what those who take in connections, datagrams and pings share of their inbound.

import type { Driver, Stack, TunDatagram, TunEcho, TunFlow, TunSocket } from '@tun/stack'
import type { EventEmitter } from 'eventemitter3'
import type { FakePins } from './fake-pins.js'
import type { TunInboundEvents } from './inbound-events.js'
import type { NameService } from './name-service.js'
import type { ServedPlaces } from './services.js'

export interface ArrivalScope {
  readonly stack: Stack
  readonly driver: Driver
  readonly names: NameService | null
  readonly places: ServedPlaces
  readonly pins: FakePins | null
  /** Whose listeners are told. */
  readonly events: EventEmitter<TunInboundEvents>
  /** close() was called: nothing new is taken. */
  isClosing(): boolean
  /** Everything is torn down: what comes late is left alone. */
  isOver(): boolean
  /** A listener threw or rejected: its flow ends, 'error' is emitted. */
  listenerFailed(error: Error, flow: TunSocket | TunFlow | TunDatagram | TunEcho): void
}
