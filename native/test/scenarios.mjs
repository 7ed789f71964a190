// Owns: what is tried against the kernel, one function each, run by namespace.ts in a network namespace of its own.
// Each answers facts as JSON; the tests judge them.

import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import native from '../index.cjs'
import { address, BLOCKED, bytes, CSUM_PARTIAL, csum, GSO_TCP4, GSO_TCP6, GSO_UDP, Rows, tcp, udp } from './packets.mjs'

const HOST4 = '10.9.0.1'
const PEER4 = '10.9.0.2'
const HOST6 = 'fd09::1'
const PEER6 = 'fd09::2'

/** What is preloaded into us, a sanitizer or an older kernel, is not meant for it. */
const env = { ...process.env, LD_PRELOAD: '' }
const ip = (...args) => execFileSync('ip', args, { env, stdio: ['ignore', 'pipe', 'pipe'] }).toString()

function openUp(name, options) {
  const tun = native.open({ name }, { up: true, ...options })
  ip('addr', 'add', `${HOST4}/24`, 'dev', tun.name)
  ip('-6', 'addr', 'add', `${HOST6}/64`, 'dev', tun.name, 'nodad')
  // IPv6 waits for the NIC's carrier, of which the kernel tells itself late if many NICs come and go.
  const isReady = () => ip('-6', 'route', 'show', 'table', 'local', 'dev', tun.name).includes(HOST6)
  for (let i = 0; i < 300 && !isReady(); i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
  return tun
}

const hosts = family => (family === 6 ? [address(HOST6), address(PEER6)] : [address(HOST4), address(PEER4)])
const protocolOf = packet => packet[packet[0] >> 4 === 4 ? 9 : 6]

/**
 * Reads until a packet of `protocol` and IP `version` shows up (the kernel sends MLD and router solicitations on its own).
 * `again` runs every 100 ms: what the kernel sends before it has told itself of a NIC's carrier (up to a second late) is gone.
 */
async function readPacket(tun, protocol, version = 4, again = () => {}) {
  const rows = new Rows()
  for (let i = 0; i < 500; i++) {
    if (i % 25 === 0) again()
    rows.clear()
    rows.read(tun)
    for (let row = 0; row < rows.count; row++) {
      const packet = rows.packet(row)
      if (packet[0] >> 4 === version && protocolOf(packet) === protocol) return { packet, ...rows.row(row) }
    }
    await sleep(4)
  }
  throw new Error('no packet came')
}

async function kernelSends(tun, family, length = 100) {
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  const send = () => socket.send(new Uint8Array(length).fill(7), 9999, family === 6 ? PEER6 : PEER4)
  const row = await readPacket(tun, 17, family, send)
  socket.close()
  return row
}

const summary = ({ packet, ...row }) => ({ ...row, verified: native.verify(packet), bytes: packet.length })

export async function offloadReset() {
  ip('tuntap', 'add', 'dev', 'p0', 'mode', 'tun')
  const first = openUp('p0', { offload: true })
  const negotiated = { offload: first.offload, set: first.offloadSet, created: first.created, persistent: first.persistent }
  const withOffload = summary(await kernelSends(first, 4))
  first.close()
  // A reader that knows nothing of offloads and sets none. It asks again as readPacket() does.
  const reader = `
import fcntl, os, select, socket, struct
fd = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'p0', 0x1001))
size = struct.unpack('i', fcntl.ioctl(fd, 0x800454d7, struct.pack('i', 0)))[0]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    if not select.select([fd], [], [], 0.1)[0]:
        sender.sendto(b'x' * 100, ('${PEER4}', 9999))
        continue
    packet = os.read(fd, 65536)
    if packet[0] >> 4 == 4 and packet[9] == 17: break
print(size, packet.hex())`
  const python = spawnSync('python3', ['-c', reader], { timeout: 10_000 })
  const [size, hex] = python.stdout.toString().trim().split(' ')
  // And one that was killed before it could reset anything.
  const index = JSON.stringify(new URL('../index.cjs', import.meta.url).pathname)
  spawnSync(process.execPath, ['-e', `require(${index}).open({ name: 'p0' }); process.kill(process.pid, 'SIGKILL')`])
  const plain = native.open({ name: 'p0' }, { offload: false, up: true })
  const afterKill = summary(await kernelSends(plain, 4))
  plain.close()
  const nextUser = { headerSize: Number(size), verified: hex ? native.verify(Buffer.from(hex, 'hex')) : python.stderr.toString() }
  return { negotiated, withOffload, nextUser, afterKill, stays: ip('link', 'show', 'p0').includes('p0') }
}

export async function udpBothWays() {
  const results = []
  for (const offload of [true, false]) {
    for (const family of [4, 6]) {
      const tun = openUp('tun%d', { offload })
      const [host, peer] = hosts(family)
      const out = summary(await kernelSends(tun, family))
      const socket = createSocket(family === 6 ? 'udp6' : 'udp4').bind(5000, family === 6 ? HOST6 : HOST4)
      await once(socket, 'listening')
      const payload = bytes(333)
      const packet = udp([peer, 6000], [host, 5000], payload, true)
      const header = packet.subarray(0, packet.length - payload.length)
      const rows = new Rows().add(header, csum(packet), [payload.subarray(0, 101), payload.subarray(101)])
      const received = once(socket, 'message')
      const done = rows.write(tun)
      const [message, from] = await received
      results.push({ offload: tun.offload, family, out, done, status: rows.status, same: message.equals(payload), port: from.port })
      socket.close()
      tun.close()
    }
  }
  return results
}

export async function udpSegments() {
  const results = []
  for (const offload of [true, false]) {
    for (const family of [4, 6]) {
      const tun = openUp('tun%d', { offload })
      const [host, peer] = hosts(family)
      const socket = createSocket(family === 6 ? 'udp6' : 'udp4').bind(5000, family === 6 ? HOST6 : HOST4)
      await once(socket, 'listening')
      const payload = bytes(4321)
      const sizes = []
      const chunks = []
      socket.on('message', message => {
        sizes.push(message.length)
        chunks.push(message)
      })
      const packet = udp([peer, 6000], [host, 5000], payload, true)
      const header = packet.subarray(0, packet.length - payload.length)
      const rows = new Rows().add(header, { ...csum(packet), gsoType: GSO_UDP, gsoSize: 1000 }, [payload])
      rows.write(tun)
      for (let i = 0; i < 200 && sizes.length < 5; i++) await sleep(5)
      results.push({
        offload: tun.offload,
        family,
        status: rows.status,
        refused: rows.table[3],
        sizes,
        same: Buffer.concat(chunks).equals(payload),
      })
      socket.close()
      tun.close()
    }
  }
  return results
}

/** The smallest TCP client there is: SYN, ACK, everything in one row with FIN. */
export async function tcpSegments() {
  const results = []
  let port = 7000 // a new one each time: the kernel still remembers the last connection
  for (const offload of [true, false]) {
    for (const family of [4, 6]) {
      port++
      const tun = openUp('tun%d', { offload })
      const [host, peer] = hosts(family)
      const chunks = []
      const server = createServer(socket => socket.on('data', chunk => chunks.push(chunk)).on('end', () => socket.destroy()))
      server.listen(80, family === 6 ? HOST6 : HOST4)
      await once(server, 'listening')
      const send = (fields, payload = new Uint8Array(), row = {}) => {
        const packet = tcp([peer, port], [host, 80], fields, payload, true)
        const header = packet.subarray(0, packet.length - payload.length)
        const rows = new Rows().add(
          header,
          { ...csum(packet), ...row },
          payload.length ? [payload.subarray(0, 777), payload.subarray(777)] : [],
        )
        rows.write(tun)
        return rows
      }
      send({ seq: 1000, flags: 0x02 })
      const synAck = await readPacket(tun, 6, family)
      const at = family === 6 ? 40 : 20
      const iss = new DataView(synAck.packet.buffer).getUint32(at + 4)
      const ack = (iss + 1) >>> 0
      send({ seq: 1001, ack, flags: 0x10 })
      const payload = bytes(20_001)
      const gso = { gsoType: family === 6 ? GSO_TCP6 : GSO_TCP4, gsoSize: 1400 }
      const ended = once(server, 'connection').then(([socket]) => once(socket, 'end'))
      const rows = send({ seq: 1001, ack, flags: 0x19 }, payload, gso)
      const done = await Promise.race([ended.then(() => true), sleep(3000, false)])
      const same = Buffer.concat(chunks).equals(payload)
      results.push({ offload: tun.offload, family, status: rows.status, refused: rows.table[3], done, same })
      server.close()
      tun.close()
    }
  }
  return results
}

/** What is negotiated, and that all goes through all the same: ioctl(2) is that of an older kernel (older-kernel.test.ts). */
export async function olderKernel() {
  const tun = openUp('tun%d', { offload: true })
  const negotiated = { offload: tun.offload, set: tun.offloadSet }
  tun.close()
  return { negotiated, udp: await udpSegments(), tcp: await tcpSegments(), small: await udpBothWays() }
}

/** A super-segment from the kernel to us. */
export async function kernelSegments() {
  const tun = openUp('tun%d', { offload: true })
  const [host, peer] = hosts(4)
  const server = createServer(socket => socket.end(bytes(30_000)))
  server.listen(80, HOST4)
  await once(server, 'listening')
  const reply = (fields, window) => {
    const packet = tcp([peer, 7000], [host, 80], { ...fields, window }, undefined, true)
    new Rows().add(packet, csum(packet)).write(tun)
  }
  reply({ seq: 1000, flags: 0x02 }, 65535)
  const synAck = await readPacket(tun, 6)
  const iss = new DataView(synAck.packet.buffer).getUint32(24)
  reply({ seq: 1001, ack: (iss + 1) >>> 0, flags: 0x10 }, 65535)
  for (;;) {
    const row = await readPacket(tun, 6)
    if (row.gsoSize === 0) continue
    server.close()
    tun.close()
    return summary(row)
  }
}

export async function downAndUp() {
  const tun = native.open({ name: 'tun0' }, { up: false })
  const packet = udp([address(PEER4), 1], [address(HOST4), 2], bytes(10), true)
  const rows = new Rows().add(packet, csum(packet)).add(packet, csum(packet))
  const done = rows.write(tun)
  const written = rows.status
  rows.clear()
  rows.read(tun)
  const read = rows.status
  let events = 0
  tun.watch(3, which => {
    events |= which
    calls++
    if (which & 2) tun.watch(1, () => calls++)
  })
  let calls = 0
  await sleep(100)
  const callsDown = calls
  const isUp = tun.isUp
  ip('link', 'set', 'tun0', 'up')
  await sleep(100)
  const result = { done, written, read, isUp, callsDown, writableWhenUp: (events & 2) !== 0, upAfter: tun.isUp }
  tun.close()
  return result
}

export async function deleted() {
  const tun = openUp('tun0', { offload: true })
  const rows = new Rows()
  let calls = 0
  let status = -1
  tun.watch(1, () => {
    calls++
    rows.clear()
    rows.read(tun)
    if (rows.status > BLOCKED) status = rows.status
  })
  await sleep(50)
  ip('link', 'del', 'tun0')
  await sleep(200)
  const callsThen = calls
  tun.watch(1, () => calls++)
  await sleep(100)
  rows.clear()
  const packet = udp([address(PEER4), 1], [address(HOST4), 2], bytes(10), true)
  const done = rows.add(packet, csum(packet)).write(tun)
  const result = { status, few: callsThen < 50, after: calls - callsThen, done, written: rows.status }
  tun.close()
  tun.close()
  return result
}

const tunDescriptors = () =>
  readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/net/tun'
    } catch {
      return false
    }
  })
const isNonBlocking = fd => (parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))[1], 8) & 0o4000) !== 0

export async function ownership() {
  const owner = openUp('tun0', { offload: true })
  const fd = Number(tunDescriptors()[0])
  const results = {}
  for (const ownership of ['borrow', 'dup']) {
    const tun = native.open({ fd, ownership })
    const open = tunDescriptors().length
    const row = summary(await kernelSends(tun, 4))
    tun.close()
    results[ownership] = { name: tun.name, offload: tun.offload, open, partial: row.flags === CSUM_PARTIAL, left: tunDescriptors().length }
  }
  // owner's own O_NONBLOCK was found set, so it must still be.
  results.nonBlocking = isNonBlocking(fd)
  const taken = native.open({ fd, ownership: 'take' })
  taken.close()
  results.take = { left: tunDescriptors().length }
  results.owner = owner.name // held to the end: collected, it would have closed the descriptor
  return results
}

/** Given away over a socket: what the giver's close would reset belongs to the receiver. */
export async function handedOver() {
  const giver = openUp('tun0', { offload: true })
  const [here, there] = native.socketpair('stream')
  native.sendDescriptor(here, giver.fd)
  const taken = native.open({ fd: native.receiveDescriptor(there), ownership: 'take' })
  giver.handedOver()
  giver.close()
  const row = summary(await kernelSends(taken, 4))
  taken.close()
  return { name: taken.name, partial: row.flags === CSUM_PARTIAL, left: tunDescriptors().length }
}

/** A TUN made in another namespace, under a name that means another NIC here, comes as a descriptor. */
export function otherNamespace() {
  ip('tuntap', 'add', 'dev', 'same0', 'mode', 'tun')
  const index = JSON.stringify(new URL('../index.cjs', import.meta.url).pathname)
  const program = `
    const tun = require(${index}).open({ fd: 9 }, { mtu: 1300 })
    console.log(JSON.stringify({ name: tun.name, mtu: tun.mtu, isUp: tun.isUp, created: tun.created }))`
  const parent = `
import ctypes, fcntl, os, struct, subprocess
libc = ctypes.CDLL(None)
home = os.open('/proc/self/ns/net', os.O_RDONLY)
assert libc.unshare(0x40000000) == 0
fd = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'same0', 0x1001))
subprocess.check_call(['ip', 'link', 'set', 'same0', 'up'])
assert libc.setns(home, 0) == 0
os.dup2(fd, 9)
os.execv(${JSON.stringify(process.execPath)}, ['node', '-e', ${JSON.stringify(program)}])`
  const there = JSON.parse(execFileSync('python3', ['-c', parent]).toString())
  return { there, here: /mtu (\d+)/.exec(ip('link', 'show', 'same0'))[1] }
}

export function foreignNics() {
  const attempt = (target, options) => {
    try {
      native.open(target, options).close()
      return 'opened'
    } catch (error) {
      return `${error.code} ${error.syscall} ${error.detail ?? ''}`.trim()
    }
  }
  ip('tuntap', 'add', 'dev', 'tap0', 'mode', 'tap')
  ip('tuntap', 'add', 'dev', 'mq0', 'mode', 'tun', 'multi_queue')
  ip('tuntap', 'add', 'dev', 'n0', 'mode', 'tun', 'user', '65534')
  const busy = native.open({ name: 'busy0' })
  const results = {
    tap: attempt({ name: 'tap0' }),
    multiQueue: attempt({ name: 'mq0' }),
    loopback: attempt({ name: 'lo' }),
    busy: attempt({ name: 'busy0' }),
    mtu: attempt({ name: 'tun7' }, { mtu: 20 }),
    fd: attempt({ fd: Number(tunDescriptors()[0]), ownership: 'borrow' }),
  }
  busy.close()
  // As nobody, with a node of our own: the host's may be 0600.
  execFileSync('sh', [
    '-c',
    'mount -t tmpfs none /mnt && mknod /mnt/tun c 10 200 && chmod 666 /mnt/tun && mount --bind /mnt/tun /dev/net/tun',
  ])
  process.setegid(65534)
  process.seteuid(65534)
  results.create = attempt({ name: 'new0' })
  const tun = native.open({ name: 'n0' }, { mtu: 1280, up: true })
  results.owned = { mtu: tun.mtu, mtuDenied: tun.mtuDenied, created: tun.created, isUp: tun.isUp }
  tun.close()
  process.seteuid(0)
  process.setegid(0)
  const root = native.open({ name: 'n0' }, { mtu: 1280, up: true })
  results.root = { mtu: root.mtu, mtuDenied: root.mtuDenied, isUp: root.isUp }
  root.close()
  return results
}

const [, , scenario] = process.argv
if (scenario) {
  const table = {
    offloadReset,
    udpBothWays,
    udpSegments,
    tcpSegments,
    olderKernel,
    kernelSegments,
    downAndUp,
    deleted,
    ownership,
    handedOver,
    otherNamespace,
    foreignNics,
  }
  // Kernel sockets whose NIC is gone would keep the process for minutes.
  process.stdout.write(JSON.stringify(await table[scenario]()), () => process.exit())
}
