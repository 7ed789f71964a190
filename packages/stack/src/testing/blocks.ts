// Owns: how many blocks nobody holds: whether what was lent has come back.

import { type Block, takeBlock } from '../memory/block-pool.js'

/** Blocks of this thread that can be taken, large ones or those with room for `bytes`. */
export function freeBlocks(bytes?: number): number {
  const all: Block[] = []
  for (let block = takeBlock(bytes); block !== null; block = takeBlock(bytes)) all.push(block)
  for (const block of all) block.release()
  return all.length
}
