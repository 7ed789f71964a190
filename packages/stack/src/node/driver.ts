// Owns: the loop between a device and its stack: when to read, when deadlines run, when user code runs, when to write. Read this first.
// The order within a turn is what makes a busy or sleeping process look like one, and not like a lossy network.

import type { Device } from '../device.js'
import { BLOCKED, DOWN, OK, PacketBatch } from '../memory/packet-batch.js'
import type { Millis } from '../memory/slab.js'
import type { Stack, StackEvents } from '../stack.js'

/** What the loop needs of its surroundings: Node's event loop, or a virtual clock. */
export interface Host {
  /** Monotonic. */
  now(): Millis
  /** Wall clock, for noticing that the machine slept. */
  wall(): Millis
  /** Runs `fn` once, after the current callback and before anything waits. */
  soon(fn: () => void): void
  setTimer(fn: () => void, delay: Millis): unknown
  clearTimer(timer: unknown): void
  /** User code threw within a turn: lets it be known without breaking the turn. */
  raise(error: unknown): void
}

export interface DriverHooks {
  /** The device is of no use any more (GONE, EOF, FAILED): the driver has stopped. */
  lost(status: number, errno: number): void
  /** The NIC went down (packets to it are dropped), or came up again. */
  down(): void
  up(): void
  /** The machine slept for about this long. */
  resumed(ms: Millis): void
}

/** Rows in one read: about a megabyte of super-segments, or one batch of small packets. */
const RX_ROWS = 256
/** Rows and bytes one turn reads before user code and timers get their turn. */
const ROW_BUDGET = 512
const BYTE_BUDGET = 1 << 20
/** As long as this much of a slab is free, the largest packet still fits. */
const SLAB_RESERVE = 66 * 1024
const TX_ROWS = 256
/** A wake-up this much behind its deadline says that the process stood still. */
const STALLED = 50 // ms
const SLEPT = 5000 // ms

export class Driver {
  private readonly device: Device
  private readonly stack: Stack
  private readonly events: StackEvents
  private readonly host: Host
  private readonly hooks: DriverHooks
  private readonly rx: PacketBatch
  private readonly tx = PacketBatch.forSending(TX_ROWS)
  private inTurn = false
  private readAgain = false
  private wakeScheduled = false
  private blocked = false
  private isDown = false
  private stopped = false
  private timer: unknown = null
  private timerAt: Millis = Infinity
  /** Wall clock minus monotonic clock, as of the last turn. */
  private drift: Millis

  constructor(device: Device, stack: Stack, events: StackEvents, host: Host, hooks: DriverHooks) {
    this.device = device
    this.stack = stack
    this.events = guarded(events, host)
    this.host = host
    this.hooks = hooks
    this.rx = new PacketBatch(stack.slabs.take(), RX_ROWS)
    this.drift = host.wall() - host.now()
  }

  start(): void {
    this.device.onWritable(() => this.writable())
    this.device.onReadable(() => this.turn(true))
  }

  /** The application has done something outside a turn: what it caused is sent before the event loop waits again. */
  wake(): void {
    if (this.inTurn || this.wakeScheduled || this.stopped) return
    this.wakeScheduled = true
    this.host.soon(this.wakeTurn)
  }

  private readonly wakeTurn = (): void => {
    this.wakeScheduled = false
    this.turn(false)
  }

  /** No turns from here on; the last rows have been written or never will be. */
  stop(): void {
    if (this.stopped) return
    this.stopped = true
    if (this.timer !== null) this.host.clearTimer(this.timer)
    this.timer = null
    this.tx.reset()
    this.rx.slab.release()
  }

  /** Sends what is due now: for the last resets before `stop`. */
  flush(): void {
    if (!this.stopped && !this.inTurn) this.transmit(this.host.now())
  }

  private turn(reading: boolean): void {
    if (this.stopped) return
    if (this.inTurn) {
      this.readAgain ||= reading
      return
    }
    this.inTurn = true
    const now = this.host.now()
    this.compareClocks(now)
    if (this.device.mtu !== this.stack.options.mtu) this.stack.setMtu(this.device.mtu)
    if (reading) {
      const stalled = now - this.stack.nextTimeout() > STALLED
      if (this.receive(now, stalled)) this.stack.expire(now) // else packets still wait, an ACK among them maybe
    }
    if (!this.stopped) this.stack.drain(this.events)
    if (!this.stopped) this.transmit(now) // the drain may have stopped us
    if (!this.stopped) this.armTimer(now) // and the device may have failed
    this.inTurn = false
    if (this.readAgain) {
      this.readAgain = false
      this.host.soon(() => this.turn(true))
    } else if (this.stack.wantsDrain) this.wake() // what the last listeners did to other connections is told as well
  }

  /** Reads and takes in until there is nothing more or the budget is spent; true for the former. */
  private receive(now: Millis, stalled: boolean): boolean {
    const { rx, device, stack } = this
    let rows = 0
    let bytes = 0
    for (;;) {
      const from = rx.used
      rows += device.read(rx)
      bytes += rx.used - from
      const { status } = rx
      stack.input(rx, now, stalled)
      this.recycle()
      if (status === BLOCKED) return true
      if (status === DOWN) {
        this.noteDown()
        return true
      }
      if (status !== OK) {
        this.lose(status, rx.errno)
        return false
      }
      if (rows >= ROW_BUDGET || bytes >= BYTE_BUDGET) return false
    }
  }

  /** Makes room for the next read: the same slab from its start if nobody kept a part of it, its rest, or another one. */
  private recycle(): void {
    const { rx, stack } = this
    rx.count = 0
    if (rx.slab.sole) rx.used = 0
    else if (rx.slab.bytes.length - rx.used < SLAB_RESERVE) {
      rx.slab.release()
      rx.slab = stack.slabs.take()
      rx.used = 0
    }
  }

  private transmit(now: Millis): void {
    const { tx, stack } = this
    if (this.blocked) return
    let more = true
    while (more) {
      more = stack.poll(now, tx)
      if (tx.count === 0) return
      if (!this.write()) return
    }
  }

  /** Writes the batch; false: the rest waits, or there is no device any more. */
  private write(): boolean {
    const { tx, stack } = this
    this.device.write(tx)
    const { status } = tx
    if (status === OK) {
      if (this.isDown) this.noteUp()
      tx.reset()
      return true
    }
    if (status === BLOCKED) {
      this.blocked = true
      return false
    }
    stack.stats.drops.deviceDown += tx.count
    const { errno } = tx
    tx.reset()
    if (status === DOWN) {
      this.noteDown()
      return true
    }
    this.lose(status, errno)
    return false
  }

  private writable(): void {
    if (this.stopped) return
    if (this.isDown) this.noteUp()
    if (!this.blocked) return
    this.blocked = false
    if (this.tx.first === this.tx.count || this.write()) this.wake()
  }

  private noteDown(): void {
    if (this.isDown) return
    this.isDown = true
    this.hooks.down()
  }

  private noteUp(): void {
    this.isDown = false
    this.hooks.up()
  }

  private lose(status: number, errno: number): void {
    this.stop()
    this.hooks.lost(status, errno)
  }

  private compareClocks(now: Millis): void {
    const drift = this.host.wall() - now
    const slept = drift - this.drift
    this.drift = drift
    if (slept > SLEPT) this.hooks.resumed(slept)
  }

  /** One timer, moved only when something is due earlier: one that comes too early finds nothing due and is set anew. */
  private armTimer(now: Millis): void {
    const next = this.stack.nextTimeout()
    if (next >= this.timerAt) return
    if (this.timer !== null) this.host.clearTimer(this.timer)
    this.timerAt = next
    this.timer = this.host.setTimer(this.expired, Math.max(0, next - now))
  }

  private readonly expired = (): void => {
    this.timer = null
    this.timerAt = Infinity
    this.turn(true) // reads first: what the deadline waits for may have arrived
  }
}

/** What a listener throws is its own affair: the others are told all the same, and the turn goes on. */
function guarded(events: StackEvents, host: Host): StackEvents {
  return {
    tcp(connection, bits) {
      try {
        events.tcp(connection, bits)
      } catch (error) {
        host.raise(error)
      }
    },
    datagram(datagram) {
      try {
        events.datagram(datagram)
      } catch (error) {
        host.raise(error)
      }
    },
    flowEnded(flow) {
      try {
        events.flowEnded(flow)
      } catch (error) {
        host.raise(error)
      }
    },
  }
}
