import { parsePacketFilter } from '@tun/device'
import { expect, it } from 'vitest'
import { PacketLog } from './packet-log.js'

/** IPv4, UDP; the kernel's way to leave checksums out is good enough here, but for the header's. */
function udp(from: string, to: string, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(28 + payload.length)
  bytes[0] = 0x45
  bytes.writeUInt16BE(bytes.length, 2)
  bytes[9] = 17
  for (const [at, address] of [
    [12, from],
    [16, to],
  ] as const) {
    const [ip, port] = address.split(':')
    for (const [i, part] of ip.split('.').entries()) bytes[at + i] = Number(part)
    bytes.writeUInt16BE(Number(port), at === 12 ? 20 : 22)
  }
  bytes.writeUInt16BE(8 + payload.length, 24)
  bytes.set(payload, 28)
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += bytes.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  bytes.writeUInt16BE(0xffff - sum, 10)
  return bytes
}

const ANSWER = Buffer.from('00018180000100010000000004746573740000010001c00c00010001000000010004c6120005', 'hex')
const at = new Date(2026, 0, 2, 3, 4, 5, 678).getTime() + 0.901

function log(options: Partial<ConstructorParameters<typeof PacketLog>[0]> = {}) {
  const lines: string[] = []
  const blocks: Buffer[] = []
  const made = new PacketLog({
    interfaceName: 'tun0',
    application: 'test',
    line: text => lines.push(text) > 0,
    block: bytes => blocks.push(Buffer.from(bytes)) > 0,
    now: () => at,
    ...options,
  })
  const types = () => blocks.map(block => block.readUInt32LE(0))
  return { log: made, lines, blocks, types }
}

const answer = udp('198.18.0.2:53', '198.18.0.1:40000', ANSWER)
const datagram = udp('198.18.0.1:40001', '198.18.0.5:443', Buffer.from('abc'))

it('prints a line for each packet with what DNS said of its addresses', () => {
  const { log: packets, lines, blocks, types } = log()
  packets.packet(datagram, true)
  packets.packet(answer, false)
  packets.packet(datagram)
  packets.packet(Buffer.from('no packet at all, of any family'), true)
  packets.end()
  expect(lines).toEqual([
    '03:04:05.678901 Out IP 198.18.0.1.40001 > 198.18.0.5.443: UDP, length 3\n',
    '03:04:05.678901 In  IP 198.18.0.2.53 > 198.18.0.1.40000: UDP, length 38  # A? test → 198.18.0.5\n',
    '03:04:05.678901 IP 198.18.0.1.40001 > 198.18.0.5.443: UDP, length 3  # test\n',
  ])
  expect(types()).toEqual([0x0a0d0d0a, 1, 6, 4, 6, 6, 5])
  expect(blocks[5].includes('test')).toBe(true)
})

it('counts to `count`, filters before it counts, and learns names from what it filters out', () => {
  const { log: packets, lines } = log({ filter: parsePacketFilter('dst port 443 and dst name test'), count: 2 })
  packets.packet(datagram)
  packets.packet(answer)
  for (let i = 0; i < 3; i++) packets.packet(datagram)
  expect(lines).toHaveLength(2)
  expect(packets).toMatchObject({ seen: 2, isFull: true, leftOut: 0 })
})

it('counts what there was no room for, and says so in the file', () => {
  let room = true
  const blocks: Buffer[] = []
  const { log: packets } = log({
    line: undefined,
    block: bytes => {
      if (room) blocks.push(Buffer.from(bytes))
      return room
    },
  })
  packets.packet(datagram)
  room = false
  for (let i = 0; i < 3; i++) packets.packet(datagram)
  room = true
  packets.packet(datagram)
  packets.end(4)
  expect(packets).toMatchObject({ seen: 5, leftOut: 3 })
  const statistics = blocks[blocks.length - 1]
  expect([statistics.readUInt32LE(0), statistics.readBigUInt64LE(24), statistics.readBigUInt64LE(36)]).toEqual([5, 9n, 7n])
})
