// Owns: work that is asked for more often than it need be done, and that holds up the event loop: how often it is done is bounded by how
// long it takes.

/** So many times as long as the last run took, nobody is let run again: a tenth of the time at most is spent here. */
const REST = 9

export class Paced {
  private restsUntil = Number.NEGATIVE_INFINITY
  private timer: NodeJS.Timeout | undefined

  /** @param run must not throw */
  constructor(private readonly run: () => void) {}

  /** Runs at once, or, shortly after the last run, later: then once for all who ask meanwhile. It keeps no process alive. */
  ask(): void {
    if (this.timer !== undefined) return
    const rest = this.restsUntil - performance.now()
    if (rest <= 0) return this.now()
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.now()
    }, Math.ceil(rest)).unref()
  }

  /** What was asked for is not done any more. */
  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private now(): void {
    const begin = performance.now()
    this.run()
    const end = performance.now()
    this.restsUntil = end + REST * (end - begin)
  }
}
