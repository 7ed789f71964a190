// Owns: the face of `@tun/stack/testing`.

export * from './blocks.js'
export * from './link.js'
export * from './memory-device.js'
export { pattern, patternByte } from './notation.js'
export * from './oracle.js'
export * from './pair.js'
export * from './pcap.js'
export * from './prng.js'
export * from './script.js'
export * from './segmentation.js'
export * from './virtual-clock.js'
