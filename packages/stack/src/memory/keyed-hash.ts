// Owns: HalfSipHash, the keyed hash behind the tables (so that peers cannot choose collisions) and the ISN.
// Read first: Aumasson & Bernstein, "SipHash: a fast short-input PRF"; the 32-bit variant as in the reference implementation.

const rotl = (x: number, n: number) => (x << n) | (x >>> (32 - n))

/**
 * HalfSipHash-c-d of words[at, at+count) with the key (k0, k1): an int32.
 * Tables use c=1 d=3, as the kernel's hsiphash does; the ISN uses 2-4.
 */
export function halfSipHash(words: Int32Array, at: number, count: number, k0: number, k1: number, c: number, d: number): number {
  let v0 = k0
  let v1 = k1
  let v2 = k0 ^ 0x6c796765
  let v3 = k1 ^ 0x74656462
  for (let i = 0; i <= count; i++) {
    // After the last word comes the length in bytes, in the top byte.
    const m = i < count ? words[at + i] : (count * 4) << 24
    v3 ^= m
    for (let r = 0; r < c; r++) {
      v0 = (v0 + v1) | 0
      v1 = rotl(v1, 5) ^ v0
      v0 = rotl(v0, 16)
      v2 = (v2 + v3) | 0
      v3 = rotl(v3, 8) ^ v2
      v0 = (v0 + v3) | 0
      v3 = rotl(v3, 7) ^ v0
      v2 = (v2 + v1) | 0
      v1 = rotl(v1, 13) ^ v2
      v2 = rotl(v2, 16)
    }
    v0 ^= m
  }
  v2 ^= 0xff
  for (let r = 0; r < d; r++) {
    v0 = (v0 + v1) | 0
    v1 = rotl(v1, 5) ^ v0
    v0 = rotl(v0, 16)
    v2 = (v2 + v3) | 0
    v3 = rotl(v3, 8) ^ v2
    v0 = (v0 + v3) | 0
    v3 = rotl(v3, 7) ^ v0
    v2 = (v2 + v1) | 0
    v1 = rotl(v1, 13) ^ v2
    v2 = rotl(v2, 16)
  }
  return v1 ^ v3
}
