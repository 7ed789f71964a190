// Owns: memory that a relay reads its upstreams into. One that is idle or slow reads into a buffer shared by all, and is copied out of it;
// a fast one into chunks of a pool, which go to the stack by reference.

import type { Owner } from '@tun/stack'
import type { Bytes } from './far-end.js'

/**
 * Largest multiple of an Ethernet-sized segment (1,448 bytes with timestamps) that fits in one IP packet: one read is one super-segment.
 */
export const CHUNK_BYTES = 45 * 1448
/** Chunks out at a time (16 MiB); beyond them everybody shares. */
const MAX_CHUNKS = 256
const KEEP_FREE = 64

export class Chunk implements Owner {
  readonly bytes: Bytes = new Uint8Array(CHUNK_BYTES)
  private refs = 0

  retain(): void {
    this.refs++
  }

  release(): void {
    if (--this.refs > 0) return
    out--
    if (free.length < KEEP_FREE) free.push(this)
  }
}

export const sharedBytes: Bytes = new Uint8Array(CHUNK_BYTES)
const free: Chunk[] = []
let out = 0

/** One more reference is the caller's; null: too many are out. */
export function takeChunk(): Chunk | null {
  if (out >= MAX_CHUNKS) return null
  out++
  const chunk = free.pop() ?? new Chunk()
  chunk.retain()
  return chunk
}
