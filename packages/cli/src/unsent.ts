// Owns: what the command has written and others have not got yet when it ends. Without us the kernel would still send it; here it is on
// its way through the TUN, the stack, and a socket of ours, which all end with this process.

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { DatagramOutbound, Outbound } from '@tun/inbound'

const TICK = 10 // ms
/** A connection is of no interest if it rests that long: the FIN of a process that has ended comes at once, or behind its data. */
const REST = 50 // ms
/** UDP has no end: its last datagram may wait for a name to be looked up. */
const REST_DATAGRAMS = 100 // ms
/** Nothing moves any more: the kernel would go on trying, a person does not wait. */
const STUCK = 5000 // ms
/** Somebody who lives on in the background writes on and on: the end of the command is the end of its network. */
const LONGEST = 30_000 // ms
const TELL = 2000 // ms

interface Stream {
  taken: number
  movedAt: number
}

export class Unsent {
  /** Connections of which the command's side is open, or not sent to its end. */
  private readonly streams = new Map<Duplex, Stream>()
  private associating = 0
  private datagramAt = Number.NEGATIVE_INFINITY

  /** The outbound, watched. Call it once for an outbound: relays know theirs by identity. */
  watch(outbound: Outbound): Outbound {
    const { associate } = outbound
    return {
      dial: async (destination, signal) => this.opened(await outbound.dial(destination, signal)),
      associate:
        associate &&
        (async (flow, signal) => {
          this.associating++
          try {
            return this.associated(await associate.call(outbound, flow, signal))
          } finally {
            this.associating--
          }
        }),
    }
  }

  /** Resolves when all has gone, or nothing moves. `tell` is called if that takes long. */
  async settle(tell: () => void): Promise<void> {
    for (let i = 0; i < 2; i++) await turn() // what lies in the TUN is read, and told
    const begin = performance.now()
    let progressAt = begin
    let told = false
    for (let now = begin; now - progressAt < STUCK && now - begin < LONGEST; now = performance.now()) {
      const { waits, movedAt } = this.look(now, begin)
      if (!waits) return
      progressAt = Math.max(progressAt, movedAt)
      if (!told && now - begin > TELL) {
        told = true
        tell()
      }
      await sleep(TICK)
    }
  }

  private opened(stream: Duplex): Duplex {
    this.streams.set(stream, { taken: 0, movedAt: performance.now() })
    stream.once('close', () => this.streams.delete(stream))
    stream.once('finish', () => {
      this.streams.delete(stream)
      // The kernel has it, the other side perhaps not: a reset would take it back.
      if ('resetAndDestroy' in stream) Object.assign(stream, { resetAndDestroy: () => stream.destroy() })
    })
    return stream
  }

  private associated(outbound: DatagramOutbound): DatagramOutbound {
    this.datagramAt = performance.now() // those that waited for it are sent now
    return {
      send: (payload, to) => {
        this.datagramAt = performance.now()
        return outbound.send(payload, to)
      },
      onMessage: fn => outbound.onMessage(fn),
      closed: outbound.closed,
      close: () => outbound.close(),
    }
  }

  private look(now: number, begin: number): { waits: boolean; movedAt: number } {
    let waits = this.associating > 0 || now - this.datagramAt < REST_DATAGRAMS
    let movedAt = this.datagramAt
    for (const [stream, state] of this.streams) {
      const taken = ((stream as Socket).bytesWritten ?? 0) - stream.writableLength // by the kernel
      if (taken !== state.taken) state.movedAt = now
      state.taken = taken
      movedAt = Math.max(movedAt, state.movedAt)
      waits ||= stream.writableLength > 0 || now - Math.max(state.movedAt, begin) < REST
    }
    return { waits, movedAt }
  }
}
