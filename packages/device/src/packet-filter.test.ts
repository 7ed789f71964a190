import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { PacketFacts } from './packet-facts.js'
import { parsePacketFilter } from './packet-filter.js'
import { PacketNames } from './packet-names.js'

function v4(protocol: number, source: string, destination: string, payload: Uint8Array, fragment = 0): Uint8Array {
  const head = Buffer.alloc(20)
  head[0] = 0x45
  head.writeUInt16BE(20 + payload.length, 2)
  head.writeUInt16BE(fragment, 6)
  head[9] = protocol
  for (const [at, address] of [
    [12, source],
    [16, destination],
  ] as const)
    for (const [i, part] of address.split('.').entries()) head[at + i] = Number(part)
  return Buffer.concat([head, payload])
}

function udp(from: number, to: number, payload: Uint8Array = Buffer.from('x')): Uint8Array {
  const head = Buffer.alloc(8)
  head.writeUInt16BE(from, 0)
  head.writeUInt16BE(to, 2)
  head.writeUInt16BE(8 + payload.length, 4)
  return Buffer.concat([head, payload])
}

const label = (name: string) =>
  Buffer.concat([...name.split('.').map(part => Buffer.from([part.length, ...Buffer.from(part)])), Buffer.of(0)])

/** A message with one question and these A records, the first of them behind a CNAME. */
function dns(name: string, addresses: string[], response = true): Uint8Array {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(response ? 0x8180 : 0x0100, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(addresses.length + 1, 6)
  const question = Buffer.concat([label(name), Buffer.of(0, 1, 0, 1)])
  const alias = label('alias.test')
  const records = [
    Buffer.concat([Buffer.of(0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, alias.length), alias]),
    ...addresses.map(a => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...a.split('.').map(Number)])),
  ]
  return Buffer.concat([head, question, ...records])
}

let names = new PacketNames()
const facts = new PacketFacts()

function matches(filter: string, packet: Uint8Array): boolean {
  expect(facts.read(packet)).toBe(true)
  return parsePacketFilter(filter)(facts, names, names.learn(facts))
}

const web = v4(6, '198.18.0.1', '198.18.0.5', Buffer.from([0xc3, 0x50, 0x01, 0xbb, ...Buffer.alloc(16)]))
const query = v4(17, '198.18.0.1', '198.18.0.2', udp(40000, 53, dns('www.Example.org', [], false)))
const answer = v4(17, '198.18.0.2', '198.18.0.1', udp(53, 40000, dns('www.Example.org', ['198.18.0.5'])))

beforeEach(() => {
  names = new PacketNames()
})

describe('a packet filter', () => {
  it('knows a name once an answer with its address has passed, and the messages about it', () => {
    expect(matches('name example.org', web)).toBe(false)
    expect(matches('name example.org', query)).toBe(true)
    expect(matches('name www.example.org.', answer)).toBe(true)
    expect(names.of('198.18.0.5')).toBe('www.example.org')
    for (const filter of ['name example.org', 'name www.example.org', 'dst name example.org']) expect(matches(filter, web)).toBe(true)
    for (const filter of ['name ample.org', 'src name example.org', 'name example.com']) expect(matches(filter, web)).toBe(false)
  })

  it.each([
    ['tcp', true],
    ['udp or ip6', false],
    ['not udp', true],
    ['! tcp', false],
    ['host 198.18.0.5', true],
    ['src host 198.18.0.5', false],
    ['dst host 198.18.0.5 and port 443', true],
    ['host 198.18.0.1 port 443', true],
    ['host 198.18.0.1 and host 198.18.0.9', false],
    ['net 198.18.0.4/31', true],
    ['net 198.18.0.6/31', false],
    ['net 0.0.0.0/0', true],
    ['net fd00::/8', false],
    ['port 50000-50001 tcp', true],
    ['src port 443', false],
    ['udp or tcp and port 80', false],
    ['(udp or tcp) and (port 443)', true],
    ['not (udp or tcp)', false],
    ['icmp || tcp && ! udp', true],
  ])('%s: %s for a segment to port 443', (filter, wanted) => {
    expect(matches(filter, web)).toBe(wanted)
  })

  it('finds ports behind IPv6 extension headers, and none in later fragments', () => {
    const head = Buffer.alloc(40)
    head[0] = 0x60
    head[6] = 60 // destination options
    head[23] = 1
    head[39] = 2
    const options = Buffer.from([44, 0, 1, 4, 0, 0, 0, 0])
    const fragment = (offset: number) => Buffer.from([17, 0, offset >> 8, offset & 0xff, 0, 0, 0, 1])
    const packet = (offset: number) => Buffer.concat([head, options, fragment(offset), udp(9, 53)])
    expect(matches('ip6 udp dst port 53 and dst host ::2', packet(1))).toBe(true)
    expect(matches('udp and host ::1', packet(8))).toBe(true)
    expect(matches('port 53', packet(8))).toBe(false)
    expect(matches('port 53', v4(17, '10.0.0.1', '10.0.0.2', udp(9, 53), 5))).toBe(false)
  })

  it.each([
    ['', 'the filter is empty'],
    ['host example.org', 'for a name: name example.org'],
    ['port 0', 'not a port'],
    ['port 9-8', 'not a port'],
    ['net 10.0.0.0/33', 'not a prefix'],
    ['net 10.0.0.0', 'not a prefix'],
    ['(tcp', "a ')' is missing"],
    ['tcp)', "')' closes nothing"],
    ['tcp and', 'it ends where something is expected'],
    ['src', 'src what?'],
    ['src tcp', "'tcp' is not understood"],
    ['prot 5', "'prot' is not understood"],
    ['constructor', "'constructor' is not understood"],
    ['port', 'port needs a value'],
  ])('%j is told what is wrong', (filter, message) => {
    expect(() => parsePacketFilter(filter)).toThrow(message)
  })

  it('never reads beyond a message that is cut, wherever', () => {
    for (let length = 20; length <= answer.length; length++) {
      if (facts.read(Uint8Array.from(answer.subarray(0, length)))) names.learn(facts)
    }
    expect(names.learn(facts)).toEqual({ question: 'www.example.org', type: 'A', response: true, addresses: ['198.18.0.5'] })
  })

  it('never throws, whatever the bytes', () => {
    const filter = parsePacketFilter('name a or port 1 or host ::1')
    const changes = fc.array(fc.tuple(fc.nat(100), fc.nat(255)))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(answer, query, web), changes, (noise, like, changed) => {
        const bytes = Uint8Array.from(like)
        for (const [at, value] of changed) bytes[at % bytes.length] = value
        for (const packet of [noise, bytes, bytes.subarray(0, noise.length)]) {
          if (facts.read(packet)) filter(facts, names, names.learn(facts))
        }
      }),
      { numRuns: 500 },
    )
  })
})
