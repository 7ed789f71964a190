// Owns: seeded chance for simulations. xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number
// generators", 2018) over a state filled by a splitmix-style mixer, so that seeds 1, 2, 3 … start far apart. Not for secrets.

/** A deterministic generator: the same seed gives the same numbers on every machine. */
export class Prng {
  /** What it was made from; print it with a failure. */
  readonly seed: number
  private a: number
  private b: number
  private c: number
  private d: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    let x = this.seed
    const next = () => {
      x = (x + 0x9e3779b9) | 0
      let z = x ^ (x >>> 16)
      z = Math.imul(z, 0x21f0aaad)
      z ^= z >>> 15
      z = Math.imul(z, 0x735a2d97)
      return (z ^ (z >>> 15)) | 0
    }
    this.a = next()
    this.b = next()
    this.c = next()
    this.d = next()
    if ((this.a | this.b | this.c | this.d) === 0) this.a = 1 // The one state it could never leave.
  }

  /** 32 random bits, 0 … 2³² − 1. */
  random32(): number {
    const t = Math.imul(this.b, 5)
    const result = Math.imul((t << 7) | (t >>> 25), 9) >>> 0
    const u = this.b << 9
    this.c ^= this.a
    this.d ^= this.b
    this.b ^= this.c
    this.a ^= this.d
    this.c ^= u
    this.d = (this.d << 11) | (this.d >>> 21)
    return result
  }

  /** 0 ≤ x < 1, in steps of 2⁻³². */
  random(): number {
    return this.random32() / 0x1_0000_0000
  }

  /** An integer 0 ≤ x < n; 0 for n ≤ 1. */
  below(n: number): number {
    const drawn = this.random()
    return n > 1 ? Math.floor(drawn * n) : 0
  }

  /** True with probability `p`. Draws once whatever `p` is, so that turning one fault off leaves the others where they were. */
  chance(p: number): boolean {
    return this.random() < p
  }

  /** A generator of its own, for a part whose number of draws must not shift everybody else's. */
  fork(): Prng {
    return new Prng(this.random32())
  }
}
