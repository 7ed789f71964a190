// Owns: the loop between a device and its stack: when to read, when deadlines run, when user code runs, when to write. Read this first.
// The order within a turn is what makes a busy or sleeping process look like one, and not like a lossy network.

import type { Device } from '../device.js'
import { shrinkBlocks } from '../memory/block-pool.js'
import { BLOCKED, DOWN, FAILED, OK, PacketBatch } from '../memory/packet-batch.js'
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
/**
 * Bytes in a row, on average, of bulk in super-segments. By the time it is answered more has often come, let out by the answer itself. To ask
 * for it costs a read(2); to be told of it costs a turn of the event loop as well, in which the copied bytes have pushed our code out of the
 * caches. Plain packets are better left to gather: what is read at once is taken in as one.
 */
const SUPER = 16 * 1024
/** As long as this much of a slab is free, the largest packet still fits. */
const SLAB_RESERVE = 66 * 1024
const TX_ROWS = 256
/**
 * Turns in a row that may end with their budget instead of an empty device before deadlines run all the same. A TUN holds 500 packets
 * (TUN_READQ_SIZE) and a turn takes at least 16, super-segments: by then all that had come before the deadline has been read.
 */
const BUSY_TURNS = 32
/** A wake-up this much behind its deadline says that the process stood still. */
const STALLED = 50 // ms
const SLEPT = 5000 // ms
/** What a burst has left in the pools is kept for the next one while packets come at least this often. */
const REST = 1000 // ms

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
  /** What is left of this turn's budget. */
  private rowsLeft = 0
  private bytesLeft = 0
  /** When the last turn that read began, and how many in a row have not come to the device's end. */
  private readAt: Millis = -Infinity
  private busyTurns = 0
  /** The process stood still, and no deadline has been looked at since. */
  private stalled = false
  private timer: unknown = null
  private timerAt: Millis = Infinity
  /** When to see whether packets still come, and how many had at the last look; Infinity: none have since the pools were shrunk. */
  private restAt: Millis = Infinity
  private rowsAtRest = 0
  /** Wall clock minus monotonic clock, as of the last turn. */
  private drift: Millis

  constructor(device: Device, stack: Stack, events: StackEvents, host: Host, hooks: DriverHooks) {
    this.device = device
    this.stack = stack
    this.events = guardedEvents(events, host)
    this.host = host
    this.hooks = guardedHooks(hooks, host)
    this.rx = new PacketBatch(stack.slabs.take(), RX_ROWS)
    this.drift = host.wall() - host.now()
  }

  start(): void {
    this.device.onWritable(() => this.writable())
    this.device.onReadable(() => this.turn(true))
    this.device.onChanged?.(() => this.changed())
    if (this.device.isUp === false) this.host.soon(() => this.changed()) // when there has been time to listen
  }

  /** The clock that deadlines go by. */
  now(): Millis {
    return this.host.now()
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
    try {
      this.steps(reading)
    } catch (error) {
      // A device, or a mistake of ours. Nobody knows in what state it left us: better an end that is told than silence for ever.
      this.host.raise(error)
      if (!this.stopped) this.lose(FAILED, 0)
    }
    this.inTurn = false
    if (this.readAgain) {
      this.readAgain = false
      this.host.soon(() => this.turn(true))
    } else if (this.stack.wantsDrain || (!this.blocked && this.stack.wantsPoll)) this.wake() // what the last listeners did is told as well
  }

  private steps(reading: boolean): void {
    const now = this.host.now()
    this.compareClocks(now)
    if (!this.stopped) this.follow(this.device.mtu) // user code may have stopped us: here in `resumed`, below in the drain
    this.rowsLeft = ROW_BUDGET
    this.bytesLeft = BYTE_BUDGET
    let at = now
    let more = reading
    do {
      more = more && !this.stopped && this.read(at)
      if (!this.stopped) this.stack.drain(this.events)
      at = this.host.now() // the drain may have taken its time
      if (!this.stopped) this.transmit(at)
    } while (more)
    if (!this.stopped) this.armTimer(this.host.now())
  }

  /** One round of a turn; true: it was super-segments, and there may be more. */
  private read(now: Millis): boolean {
    // A deadline held back by the budget of earlier turns is late as well, but nobody stood still.
    this.stalled ||= now - Math.max(this.stack.nextTimeout(), this.readAt) > STALLED
    this.readAt = now
    const { rowsLeft, bytesLeft } = this
    const isEmpty = this.receive(now)
    if (isEmpty || ++this.busyTurns >= BUSY_TURNS) this.expire(now) // else packets still wait, an ACK among them maybe
    const mayAsk = isEmpty && this.rowsLeft > 0 && this.bytesLeft > BYTE_BUDGET / 2 // sockets on the other side wait for this turn's end
    return mayAsk && bytesLeft - this.bytesLeft >= SUPER * (rowsLeft - this.rowsLeft)
  }

  private expire(now: Millis): void {
    this.busyTurns = 0
    if (!this.stopped) this.stack.expire(now)
    this.stalled = false
  }

  private follow(mtu: number): void {
    if (mtu !== this.stack.options.mtu) this.stack.setMtu(mtu)
  }

  /** Reads and takes in until there is nothing more or the budget is spent; true for the former. */
  private receive(now: Millis): boolean {
    const { rx, device, stack } = this
    this.recycle() // what the last turn lent may have come back, and its memory is still in the caches
    for (;;) {
      const from = rx.used
      this.rowsLeft -= Math.max(1, device.read(rx)) // a read of nothing, an empty datagram, counts too: or a flood of them keeps us here
      this.bytesLeft -= rx.used - from
      const { status } = rx
      stack.input(rx, now, this.stalled)
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
      if (this.rowsLeft <= 0 || this.bytesLeft <= 0) return false
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
      if (tx.count === 0 || !this.write() || this.stopped) return
    }
  }

  /** Writes the batch; false: the rest waits, or there is no device any more. */
  private write(): boolean {
    const { tx, stack } = this
    const from = tx.first
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
    // DOWN counts the lost ones as done; behind any other failure they are the rest.
    stack.stats.drops.deviceDown += tx.count - (status === DOWN ? from : tx.first)
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
    if (!this.blocked || this.stopped) return
    this.blocked = false
    if (this.tx.first === this.tx.count || this.write()) this.wake()
  }

  /** The NIC's state or MTU is another one: of the former a write would tell as well, if there were any; the latter is for a turn. */
  private changed(): void {
    if (this.stopped) return
    if (this.device.isUp === false) this.noteDown()
    else if (this.isDown) this.noteUp()
    this.turn(false)
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
    if (this.restAt === Infinity && this.stack.stats.rowsIn !== this.rowsAtRest) this.restAt = now + REST
    const next = Math.min(this.stack.nextTimeout(), this.restAt)
    if (next >= this.timerAt) return
    if (this.timer !== null) this.host.clearTimer(this.timer)
    this.timerAt = next
    this.timer = this.host.setTimer(this.expired, Math.max(0, next - now))
  }

  private readonly expired = (): void => {
    this.timer = null
    this.timerAt = Infinity
    const now = this.host.now()
    if (now >= this.restAt) this.look(now)
    this.turn(true) // reads first: what the deadline waits for may have arrived
  }

  /** If nothing has come since the last look, the burst is over. */
  private look(now: Millis): void {
    const { rowsIn } = this.stack.stats
    const isOver = rowsIn === this.rowsAtRest
    this.rowsAtRest = rowsIn
    this.restAt = isOver ? Infinity : now + REST
    if (!isOver) return
    this.stack.slabs.shrink()
    shrinkBlocks()
  }
}

/** What a listener throws is its own affair: the others are told all the same, and the turn goes on. */
function guard<A extends unknown[]>(host: Host, fn: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try {
      fn(...args)
    } catch (error) {
      host.raise(error)
    }
  }
}

const guardedEvents = (events: StackEvents, host: Host): StackEvents => ({
  tcp: guard(host, (connection, bits) => events.tcp(connection, bits)),
  datagram: guard(host, datagram => events.datagram(datagram)),
  ...(events.carry && {
    carry: datagram => {
      try {
        return events.carry?.(datagram) === true
      } catch (error) {
        host.raise(error)
        return true // it may have taken it
      }
    },
  }),
  flowEnded: guard(host, flow => events.flowEnded(flow)),
  undelivered: guard(host, report => events.undelivered?.(report)),
  ...(events.echo && { echo: guard(host, request => events.echo?.(request)) }),
})

const guardedHooks = (hooks: DriverHooks, host: Host): DriverHooks => ({
  lost: guard(host, (status, errno) => hooks.lost(status, errno)),
  down: guard(host, () => hooks.down()),
  up: guard(host, () => hooks.up()),
  resumed: guard(host, ms => hooks.resumed(ms)),
})
