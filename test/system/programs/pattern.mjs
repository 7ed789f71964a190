// Bytes that both ends can make: 64 KiB of noise whose first bytes number the block, so that no two blocks are alike.

import { createHash } from 'node:crypto'

const BLOCK = 65_536
const noise = Buffer.alloc(BLOCK)
for (let at = 0, digest = Buffer.from('tun'); at < BLOCK; at += 32) {
  digest = createHash('sha256').update(digest).digest()
  digest.copy(noise, at)
}

/** @param {number} total @returns {Generator<Buffer>} */
export function* pattern(total) {
  for (let index = 0, left = total; left > 0; index++, left -= BLOCK) {
    const block = Buffer.from(noise)
    block.writeUInt32BE(index, 0)
    yield left >= BLOCK ? block : block.subarray(0, left)
  }
}

/** @param {number} total */
export function patternHash(total) {
  const hash = createHash('sha256')
  for (const block of pattern(total)) hash.update(block)
  return hash.digest('hex')
}
