// Owns: net.Socket's setTimeout: a call after so long without traffic, again only after more traffic. It keeps no process alive.

/** setTimeout turns anything longer into 1 ms. */
const LONGEST = 2 ** 31 - 1

export class IdleTimer {
  private readonly progress: () => number
  private readonly idle: () => void
  private timer: NodeJS.Timeout | null = null
  /** The progress when the idle time began. */
  private mark = 0

  /** `progress` is a number that changes with all traffic, also such as `refresh` is not called for. */
  constructor(progress: () => number, idle: () => void) {
    this.progress = progress
    this.idle = idle
  }

  /** @throws RangeError ERR_TUN_TIMEOUT */
  set(ms: number): void {
    if (!(ms >= 0)) throw Object.assign(new RangeError(`a timeout is 0 or more milliseconds, not ${ms}`), { code: 'ERR_TUN_TIMEOUT' })
    this.clear()
    if (ms === 0) return
    this.mark = this.progress()
    this.timer = setTimeout(() => this.expired(), Math.min(ms, LONGEST)).unref()
  }

  refresh(): void {
    this.timer?.refresh()
  }

  clear(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
  }

  private expired(): void {
    const progress = this.progress()
    const idle = progress === this.mark
    this.mark = progress
    if (idle) this.idle()
    else this.timer?.refresh()
  }
}
