// Owns: sequence number arithmetic modulo 2^32 on int32. RFC 9293 §3.4.

export type Seq = number

export const seqLt = (a: Seq, b: Seq): boolean => ((a - b) | 0) < 0
export const seqLeq = (a: Seq, b: Seq): boolean => ((a - b) | 0) <= 0
export const seqGt = (a: Seq, b: Seq): boolean => ((a - b) | 0) > 0
export const seqGeq = (a: Seq, b: Seq): boolean => ((a - b) | 0) >= 0
export const seqMax = (a: Seq, b: Seq): Seq => (seqGt(a, b) ? a : b)
export const seqMin = (a: Seq, b: Seq): Seq => (seqLt(a, b) ? a : b)
export const seqAdd = (a: Seq, n: number): Seq => (a + n) | 0
/** How far `a` is ahead of `b`, signed. */
export const seqDiff = (a: Seq, b: Seq): number => (a - b) | 0
