// Every function and method of the addon with arguments that nobody should give: other types, detached and shared memory, numbers out of
// all ranges, tables full of chance, closed objects, foreign `this`. A call may throw an Error; nothing else may come of it.
//
//   node fuzz.mjs [--seconds 3] [--seed N]      as root with a TUN, too: run it in a network namespace of its own (unshare -n)
//
// With sanitizers: npm run build:asan. The same seed makes the same calls, but for what the kernel answers.

import { closeSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const native = createRequire(import.meta.url)('../index.cjs')
const addon = createRequire(import.meta.url)('node-gyp-build')(process.env.TUN_NATIVE_ROOT || new URL('..', import.meta.url).pathname)
const { values: given } = parseArgs({ options: { seconds: { type: 'string', default: '3' }, seed: { type: 'string' } } })
const seed = Number(workerData?.seed ?? given.seed ?? Date.now() % 1e9)
const seconds = Number(given.seconds)

let state = seed >>> 0 || 1
/** xorshift32 */
const chance = n => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % n
}
const pick = list => list[chance(list.length)]

function detached(array) {
  structuredClone(array.buffer, { transfer: [array.buffer] })
  return array
}
/** A view of memory that was taken away, or has shrunk, since. */
function shrunk() {
  const buffer = new ArrayBuffer(64, { maxByteLength: 256 })
  const view = new Uint8Array(buffer)
  buffer.resize(8)
  return view
}
const chaotic = new Proxy(
  {},
  {
    get(_, key) {
      if (key === Symbol.toPrimitive) return () => NaN
      throw new Error('a getter that throws')
    },
  },
)
const sparse = []
sparse.length = 2 ** 32 - 1

const NUMBERS = [NaN, -1, -0, 0.5, 1e9, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, -(2 ** 31), 2 ** 53, -(2 ** 63), Infinity, -Infinity]
const STRANGE = [
  () => undefined,
  () => null,
  () => chance(2) === 0,
  () => pick(NUMBERS),
  () => chance(70_000),
  () => pick(['', 'x', 'a\0b', 'tun%d', '\u{1f9ea}', 'x'.repeat(100_000), 'take', 'stream']),
  () => 10n ** 30n,
  () => Symbol('x'),
  () => ({}),
  () => ({ name: 1, fd: 'x', ownership: chance(3), groups: NaN, nic: -7, family: 5, command: [1], length: -1 }),
  () => [],
  () => [pick(NUMBERS), 'x', null],
  () => sparse,
  () => () => {},
  () => chaotic,
  () => Object.create(null),
  () => new Uint8Array(chance(200)),
  () => detached(new Uint8Array(100)),
  () => detached(new Int32Array(64)),
  () => shrunk(),
  () => new Uint8Array(new SharedArrayBuffer(64)),
  () => new Int32Array(chance(200)),
  () => new Int32Array(new ArrayBuffer(64), 4, chance(8)),
  () => new Float64Array(8),
  () => new BigInt64Array(8),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => Buffer.from('a packet'),
  () => new (class Mine extends Uint8Array {})(32),
  () => pick(objects)?.target,
]
const strange = () => pick(STRANGE)()

const slab = new Uint8Array(1 << 18)
const table = new Int32Array(8 + 9 * 64 + 2 * 256)
const messages = new Uint8Array(65_536)
const anyWord = () => pick([() => 0, () => chance(64), () => chance(1 << 16), () => state | 0, () => -chance(100), () => 2 ** 31 - 1])()
/** A table that says anything, and bytes that are anything. */
function stir() {
  for (let i = chance(600); i > 0; i--) table[chance(table.length)] = anyWord()
  for (let i = chance(64); i > 0; i--) slab[chance(slab.length)] = chance(256)
  // Often rows that could be: an IP header, lengths that fit.
  if (chance(2) === 0) {
    const v6 = chance(2) === 0
    for (let row = 0; row < 8; row++) {
      slab[row * 2048] = v6 ? 0x60 : 0x45
      slab[row * 2048 + (v6 ? 6 : 9)] = pick([6, 17, 1])
      const fields = [row * 2048, 28 + chance(60), chance(5), chance(1500), chance(50), pick([16, 6, 2]), chance(16), 0, chance(3)]
      fields.forEach((value, column) => {
        table[8 + column * 64 + row] = value
      })
    }
    for (let piece = 0; piece < 256; piece++) {
      table[8 + 9 * 64 + piece] = chance(10)
      table[8 + 9 * 64 + 256 + piece] = chance(2000)
    }
  }
}

function pieces() {
  const list = Array.from({ length: chance(6) }, () => new Uint8Array(chance(3000)))
  // A getter in the middle of the call, which takes away what was looked at before it.
  if (list.length > 1 && chance(10) === 0) Object.defineProperty(list, list.length - 1, { get: () => detached(list[0]) })
  return list
}
const callback = () => {
  if (chance(50) === 0) throw new Error('out of a callback')
}
const CALLS = {
  Tun: {
    read: () => [slab, chance(1000), table, 0, 64],
    write: () => [slab, table, 64, 256, chance(3), chance(9), pieces()],
    watch: () => [chance(4), callback],
    ...{ ref: () => [], unref: () => [], handedOver: () => [], close: () => [] },
  },
  UdpSockets: {
    open: () => [pick([4, 6]), pick([undefined, '127.0.0.1', '::1', 'x']), 0, pick([undefined, '127.0.0.1', 'x']), pick([9, 65_535, 0])],
    receive: () => [chance(4), slab, 2048, table, 64],
    send: () => [chance(4), slab, table, 64, chance(3), chance(9)],
    reports: () => [chance(4), slab, 2048, table, 64],
    ...{ watchWritable: () => [chance(4), chance(2) === 0], closeSocket: () => [chance(4)], address: () => [chance(4), chance(2) === 0] },
    wait: () => [new Int32Array(chance(9))],
    watch: () => [callback],
    ...{ ref: () => [], unref: () => [], close: () => [] },
  },
  Ping: {
    send: () => [Int32Array.of(0, 0, 0xffff, 0x7f000001), chance(70_000), chance(300), slab.subarray(0, chance(70_000))],
    receive: () => [slab, new Int32Array(12 + chance(3))],
    report: () => [slab, new Int32Array(12 + chance(3))],
    watch: () => [chance(4), callback],
    ...{ ref: () => [], unref: () => [], close: () => [] },
  },
  TcpSockets: {
    open: () => [pick([4, 6]), pick(['127.0.0.1', '::1', 'x']), pick([9, 65_535, 0]), pick([undefined, '127.0.0.1', 'x'])],
    send: () => [chance(4), slab, 0, chance(1000)],
    sendRanges: () => [chance(4), pieces(), pick([Int32Array.of(0, 9, 1, 8, 0, 0, 5, 1000), new Int32Array(chance(12)), table]), chance(5)],
    receive: () => [chance(4), slab, chance(10), 1000],
    ...{ connected: () => [chance(4)], shutdown: () => [chance(4)], closeSocket: () => [chance(4), chance(2) === 0] },
    wait: () => [new Int32Array(chance(9))],
    ...{ keepAlive: () => [chance(4), chance(9)], noDelay: () => [chance(4), true], address: () => [chance(4), chance(2) === 0] },
    watch: () => [callback],
    ...{ ref: () => [], unref: () => [], close: () => [] },
  },
  Netlink: {
    receive: () => [messages],
    send: () => [pick([slab.subarray(0, 32 + chance(64)), Uint8Array.of(32, 0, 0, 0, pick([18, 22, 26]), 0, 1, 3, ...new Uint8Array(24))])],
    watch: () => [chance(2) === 0 ? null : callback],
    ...{ ref: () => [], unref: () => [], close: () => [] },
  },
}
const FUNCTIONS = {
  open: () => [
    { fd: -2, ownership: 'borrow' },
    { mtu: 1500, offload: true, up: true },
  ],
  socketpair: () => [strange()],
  // Descriptors of this process that are no sockets, and none at all: what they are must not matter.
  sendDescriptor: () => [pick([0, -1, 99_999]), pick([0, -1, 99_999])],
  receiveDescriptor: () => [pick([0, -1, 99_999]), pick([0, 1, 0.5])],
  openPacketSocket: () => ['lo'],
  packetDrops: () => [pick([0, -1, 99_999])],
  // Never one that is caught: a handler of ours would stay.
  countSenders: () => [pick([-1, 0, 9, 19, 200, ...NUMBERS])],
  takeSenders: () => [pick([-1, 0, 1, 64, 65, 200, ...NUMBERS])],
  checksum: () => [slab.subarray(chance(100), chance(2000))],
  verify: () => [slab.subarray(0, chance(100))],
}
const CONSTRUCTORS = {
  UdpSockets: () => [],
  Ping: () => [{ family: pick([4, 6]), address: pick([undefined, '127.0.0.1', 'x']), mark: pick(NUMBERS) }],
  TcpSockets: () => [],
  Netlink: () => [{ groups: pick([0, 1, 0x551]), nic: pick([-1, 0, 99_999]) }],
  // Never whole: a whole request starts a process.
  Isolated: () => [{ command: pick([[], [''], ['true', 'a\0b'], 'true']), env: [], masks: [], files: [], name: 'x', address4: '10.0.0.1' }],
}

/** @type {{ kind: string, target: any, release: () => void }[]} */
const objects = []
const MAX_OBJECTS = 24

function remember(kind, target, release = () => {}) {
  if (objects.length >= MAX_OBJECTS) {
    const [old] = objects.splice(chance(objects.length), 1)
    try {
      old.target.close()
    } catch {}
    old.release()
  }
  objects.push({ kind, target, release })
}

function open() {
  const kind = pick(['Tun', 'Tun', 'Tun', 'UdpSockets', 'Netlink', 'Ping', 'TcpSockets'])
  if (kind === 'UdpSockets' && addon.UdpSockets) {
    const target = native.openUdpSockets()
    for (let i = chance(4); i > 0; i--) target.open(4, '127.0.0.1')
    return remember(kind, target)
  }
  if (kind === 'Ping' && addon.Ping) return remember(kind, native.openPing({ family: 4 }))
  if (kind === 'TcpSockets' && addon.TcpSockets) return remember(kind, native.openTcpSockets())
  if (kind === 'Netlink' && addon.Netlink) return remember(kind, native.openNetlink({ groups: 0x551 }))
  if (process.getuid?.() === 0 && chance(4) === 0) return remember('Tun', native.open({ name: 'fuzz%d' }, { up: true }))
  const [ours, theirs] = native.socketpair(pick(['dgram', 'seqpacket']))
  const target = native.open({ fd: ours, ownership: 'take' })
  const peer = native.open({ fd: theirs, ownership: 'take' }) // so that a worker's end closes it
  remember('Tun', target, () => peer.close())
  for (let i = chance(4); i > 0; i--) writeSync(theirs, slab.subarray(0, 1 + chance(2000)))
}

/** One to three of the arguments become something else, or there are fewer, or more. */
function spoil(args) {
  const spoilt = [...args]
  for (let i = chance(4); i > 0; i--) spoilt[chance(spoilt.length + 1)] = strange()
  if (chance(10) === 0) spoilt.length = chance(spoilt.length + 1)
  return spoilt
}

let calls = 0
let thrown = 0
function attempt(what, fn) {
  calls++
  try {
    const made = fn()
    if (made !== null && typeof made === 'object' && typeof made.close === 'function') made.close()
    if (what === 'socketpair') for (const fd of made) closeSync(fd)
    if (what === 'openPacketSocket') closeSync(made)
  } catch (error) {
    thrown++
    if (!(error instanceof Error)) throw Object.assign(new Error(`${what} threw what is no Error`), { cause: error })
  }
}

function step() {
  stir()
  const turn = chance(20)
  if (turn === 0) return attempt('open', open)
  if (turn === 1) {
    const [name, args] = pick(Object.entries(FUNCTIONS).filter(([key]) => addon[key] !== undefined))
    return attempt(name, () => addon[name](...spoil(args())))
  }
  if (turn === 3 && objects.length > 0) return attempt('constructor', () => new (pick(objects).target.constructor)(...spoil([])))
  if (turn === 2) {
    const [name, args] = pick(Object.entries(CONSTRUCTORS))
    const Class = addon[name]
    if (Class === undefined) return
    return attempt(name, () => {
      const made = chance(5) === 0 ? Class(...spoil(args())) : Reflect.construct(Class, spoil(args()), pick([Class, Object]))
      Class.prototype.close.call(made) // which is not its own, if it was made as an Object
    })
  }
  const object = pick(objects)
  if (object === undefined) return attempt('open', open)
  const [method, args] = pick(Object.entries(CALLS[object.kind]).filter(([name]) => name !== 'close' || chance(20) === 0))
  const self = chance(30) === 0 ? strange() : object.target
  attempt(`${object.kind}.${method}`, () => object.target[method].apply(self, chance(3) === 0 ? args() : spoil(args())))
  if (chance(10) === 0) for (const key of ['fd', 'mtu', 'isUp', 'name']) void object.target[key]
}

function descriptors() {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const what = readlinkSync(`/proc/self/fd/${fd}`)
      return /^socket:|\/tun$/.test(what) ? [`${fd} ${what}`] : [] // Node opens others when it likes
    } catch {
      return [] // that of this very reading
    }
  })
}

let uncaught = 0
process.on('uncaughtException', error => {
  uncaught++
  if (error.message === 'out of a callback') return
  process.stderr.write(`seed ${seed}: ${error.stack}\n${error.cause ?? ''}\n`)
  process.exit(1)
})

async function run() {
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    for (let i = 0; i < 100; i++) step()
    await new Promise(resolve => setImmediate(resolve)) // callbacks
  }
  for (const { target, release } of objects.splice(0)) {
    target.close()
    release()
  }
}

if (!isMainThread) {
  while (true) await run()
} else {
  const before = descriptors()
  // The addon in two threads at once; the other is ended in the middle of it.
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { seed: seed + 1 },
    argv: process.argv.slice(2),
    trackUnmanagedFds: false,
  })
  await new Promise(resolve => worker.once('online', resolve))
  await run()
  await worker.terminate()
  let left = []
  for (let i = 0; i < 50 && (i === 0 || left.length > 0); i++) {
    await new Promise(resolve => setTimeout(resolve, 100))
    left = descriptors().filter(descriptor => !before.includes(descriptor))
  }
  const status = readFileSync('/proc/self/status', 'latin1')
  const rss = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
  console.log(JSON.stringify({ seed, calls, thrown, uncaught, left, rss }))
  process.exit(0)
}
