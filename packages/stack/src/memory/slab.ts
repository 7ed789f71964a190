// Owns: the memory packets are read into, lent out by reference and counted. Ownership is in the verb:
// a parameter is borrowed, `retain` makes it yours too, `release` gives it back.

export type Bytes = Uint8Array<ArrayBuffer>

/** Milliseconds, monotonic, a double (never int32): see DESIGN in docs/architecture.md. */
export type Millis = number

/** Something that can be held and given back; a slab of the pool, or a stranger's buffer with a callback. */
export interface Owner {
  retain(): void
  release(): void
}

/** 256 KiB: three 64 KiB super-segments fit, and the largest packet always has room in a fresh one. */
export const SLAB_BYTES = 256 * 1024

/** Packets smaller than this share a place. */
const PART_STRIDE = 512

export class Slab implements Owner {
  readonly bytes: Bytes
  readonly view: DataView
  private readonly pool: SlabPool | null
  private refs = 1
  /** The views `part` has made, by the PART_STRIDE they begin in; null while there are none. */
  private parts: (Bytes | null)[] | null = null

  constructor(size: number, pool: SlabPool | null = null) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
    this.pool = pool
  }

  /** Nobody but the pool's user holds it: it may be filled again. */
  get sole(): boolean {
    return this.refs === 1
  }

  /**
   * bytes[start, end), to copy from. The view of the last time serves again if it is the same range: in a stream of full packets they
   * lie where those before them lay, and a view made anew would cost as much as the copy.
   */
  part(start: number, end: number): Bytes {
    this.parts ??= new Array<Bytes | null>(Math.ceil(this.bytes.length / PART_STRIDE)).fill(null)
    const slot = Math.floor(start / PART_STRIDE)
    const known = this.parts[slot]
    if (known !== null && known.byteOffset === start && known.length === end - start) return known
    const part = this.bytes.subarray(start, end)
    this.parts[slot] = part
    return part
  }

  retain(): void {
    this.refs++
  }

  release(): void {
    this.refs--
    if (this.refs === 0 && this.pool) {
      this.refs = 1
      this.pool.put(this)
    }
  }
}

export interface SlabPoolOptions {
  /** Bytes of one slab. */
  size?: number
  /** Slabs in use, lent ones included, beyond which `lendable` is false and readers must copy. */
  cap?: number
  /** Called once per new slab: `node/` marks the buffer untransferable there. */
  onNew?: (slab: Slab) => void
}

/** Slabs in use have a cap on *lending* (pinned bytes ≤ cap × size); free ones above `KEEP_FREE` go to the collector. */
export class SlabPool {
  readonly size: number
  readonly cap: number
  /** Slabs taken and not given back. */
  inUse = 0
  private readonly free: Slab[] = []
  private readonly onNew: ((slab: Slab) => void) | undefined

  constructor(options: SlabPoolOptions = {}) {
    this.size = options.size ?? SLAB_BYTES
    this.cap = options.cap ?? 64
    this.onNew = options.onNew
  }

  /** May a range of a slab still be kept beyond the turn? Otherwise copy. */
  get lendable(): boolean {
    return this.inUse < this.cap
  }

  /** A slab with one reference, the caller's. */
  take(): Slab {
    this.inUse++
    const slab = this.free.pop()
    if (slab) return slab
    const fresh = new Slab(this.size, this)
    this.onNew?.(fresh)
    return fresh
  }

  put(slab: Slab): void {
    this.inUse--
    if (this.free.length < KEEP_FREE) this.free.push(slab)
  }

  /** The burst is over: all but a few free slabs go to the collector. */
  shrink(): void {
    if (this.free.length > KEEP_IDLE) this.free.length = KEEP_IDLE
  }
}

/** Slabs kept for the next burst (8 MiB): made anew, each costs a page fault for every 4 KiB of it. */
const KEEP_FREE = 32
/** What is left of them once nothing happens (1 MiB). */
const KEEP_IDLE = 4
