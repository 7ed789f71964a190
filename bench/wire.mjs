// The small functions every packet goes through, one by one: ns a call. They are not exported, so the sources are bundled here, by the
// esbuild that tsup brings; the native checksum is the addon's.
//
//   node bench/wire.mjs [--only flow]      needs npm ci

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { median, table } from './report.mjs'

const { values: args } = parseArgs({ options: { only: { type: 'string', default: '' } } })
const RUNS = 7
const RUN_MS = 60

const sources = ['wire/ip', 'wire/tcp', 'wire/udp', 'wire/checksum', 'memory/flow-table', 'memory/keyed-hash', 'memory/deadline-heap']
const src = fileURLToPath(new URL('../packages/stack/src', import.meta.url))
const bundle = await build({
  stdin: { contents: sources.map(file => `export * from './${file}.ts'`).join('\n'), resolveDir: src },
  bundle: true,
  write: false,
  format: 'esm',
})
const engine = await import(`data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString('base64')}`)
const { readIp, writeIpv4, writeIpv6, IpPacket, readSegment, writeTcpHeader, writeTimestamps, Segment, FlowTable, halfSipHash, sumBytes } =
  engine
const { readUdp, UdpHeader, DeadlineHeap } = engine

/** @type {{ name: string, fn: (n: number) => number }[]} */
const cases = []
const add = (/** @type {string} */ name, /** @type {(n: number) => number} */ fn) => cases.push({ name, fn })

// A slab with a packet of each kind: 1,448 bytes of TCP text with timestamps over IPv4 and IPv6, and a UDP datagram.
const slab = new Uint8Array(256 * 1024)
const view = new DataView(slab.buffer)
const TEXT = 1448
const ACK = 16
const V4 = 0
const V6 = 4096
const UDP = 8192
writeIpv4(view, V4, 20 + 32 + TEXT, 6, 0x0a000001, 0xc6120002 | 0)
writeIpv6(view, V6, 32 + TEXT, 6, 0x20010db8, 0, 0, 1, 0x20010db8, 0, 0, 2)
for (const at of [V4 + 20, V6 + 40]) {
  writeTcpHeader(view, at, 40_000, 443, 1, 1, 32, ACK, 1000)
  writeTimestamps(view, at + 20, 1, 2)
}
writeIpv4(view, UDP, 20 + 8 + 64, 17, 0x0a000001, 0xc6120002 | 0)
view.setUint16(UDP + 20, 40_000)
view.setUint16(UDP + 22, 53)
view.setUint16(UDP + 24, 8 + 64)

const ip = new IpPacket()
const seg = new Segment()
const udp = new UdpHeader()
add('parse IPv4 + TCP with timestamps', n => {
  for (let i = 0; i < n; i++) if (readIp(view, V4, 20 + 32 + TEXT, false, ip) !== 0 || !readSegment(view, ip.payload, ip.end, seg)) return 0
  return seg.tsVal
})
add('parse IPv6 + TCP with timestamps', n => {
  for (let i = 0; i < n; i++) if (readIp(view, V6, 40 + 32 + TEXT, false, ip) !== 0 || !readSegment(view, ip.payload, ip.end, seg)) return 0
  return seg.tsVal
})
add('parse IPv4 + UDP', n => {
  for (let i = 0; i < n; i++)
    if (readIp(view, UDP, 20 + 8 + 64, false, ip) !== 0 || !readUdp(view, ip.payload, ip.end, false, udp)) return 0
  return udp.srcPort
})
add('write IPv4 + TCP header with timestamps', n => {
  for (let i = 0; i < n; i++) {
    writeIpv4(view, V4, 20 + 32 + TEXT, 6, 0x0a000001, 0xc6120002 | 0)
    writeTcpHeader(view, V4 + 20, 40_000, 443, 1, 1, 32, ACK, 1000)
    writeTimestamps(view, V4 + 40, 1, 2)
  }
  return 1
})

for (const bytes of [20, TEXT]) {
  add(`checksum of ${bytes} bytes, TypeScript`, n => {
    let sum = 1
    for (let i = 0; i < n; i++) sum = sumBytes(view, 0, bytes, sum & 1)
    return sum + 1
  })
}
try {
  const native = createRequire(import.meta.url)('@tun/native')
  for (const bytes of [TEXT, 65_535]) {
    const text = slab.subarray(0, bytes)
    add(`checksum of ${bytes} bytes, native call`, n => {
      let sum = 0
      for (let i = 0; i < n; i++) sum = native.checksum(text)
      return sum + 1
    })
  }
} catch (error) {
  process.stderr.write(`bench/wire: without the native rows: ${/** @type {Error} */ (error).message}\n`)
}

const words = new Int32Array(9)
add('keyed hash of a flow (HalfSipHash-1-3)', n => {
  let h = 0
  for (let i = 0; i < n; i++) {
    words[8] = i
    h ^= halfSipHash(words, 0, 9, 1, 2, 1, 3)
  }
  return h | 1
})
for (const size of [100, 100_000]) {
  const flows = new FlowTable(1, 2)
  const setKey = (/** @type {number} */ i) =>
    flows.setKey(0, 0, 0xffff, 0x0a000001 + i, 0, 0, 0xffff, 0xc6120002 | 0, 40_000 + (i & 8191), 443)
  for (let i = 0; i < size; i++) {
    setKey(i)
    flows.add(i + 1)
  }
  add(`flow lookup among ${size.toLocaleString('en-US')}, found`, n => {
    let found = 0
    for (let i = 0; i < n; i++) {
      setKey((i * 7919) % size)
      found |= flows.find()
    }
    return found
  })
}
const heap = new DeadlineHeap()
const items = Array.from({ length: 10_000 }, (_, i) => ({ deadline: i, heapIndex: -1, wake() {} }))
for (const item of items) heap.update(item)
add('deadline moved later, 10,000 in the heap', n => {
  for (let i = 0; i < n; i++) {
    const item = items[i % items.length]
    item.deadline += 200
    heap.update(item)
  }
  return heap.size
})

const rows = cases
  .filter(({ name }) => name.includes(args.only))
  .map(({ name, fn }) => {
    let n = 1000
    for (;;) {
      const from = performance.now()
      if (fn(n) === 0) throw new Error(`'${name}' does not do what it measures`)
      if (performance.now() - from > RUN_MS) break
      n *= 2
    }
    const times = Array.from({ length: RUNS }, () => {
      const from = performance.now()
      fn(n)
      return ((performance.now() - from) * 1e6) / n
    })
    return [name, median(times), Math.min(...times)]
  })
console.log(`## Pieces\n\nns a call; median and least of ${RUNS} runs, each of ${RUN_MS} ms or more.\n`)
console.log(table(['what', 'ns', 'least'], rows))
