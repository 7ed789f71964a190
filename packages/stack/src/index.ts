export * from './device.js'
export * from './memory/packet-batch.js'
export { type Bytes, type Millis, type Owner, Slab, SlabPool, type SlabPoolOptions } from './memory/slab.js'
