import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChunkOpener, ChunkSealer, MAX_PAYLOAD } from './chunks.js'
import { findCipher, Secret } from './cipher.js'
import { EXAMPLE_ORG_443, NaivePeer, PASSWORD, RECORDED } from './peer.test-kit.js'
import { SaltFilter } from './salts.js'

const CIPHER = 'chacha20-ietf-poly1305'
const secretOf = (cipher: string) => new Secret(findCipher(cipher)!, PASSWORD)
const secret = secretOf(CIPHER)
const peer = new NaivePeer(CIPHER)

/** What an opener makes of `pieces`. */
function open(pieces: readonly Buffer[], salts = new SaltFilter(64), from = secret) {
  const opener = new ChunkOpener(from, salts)
  const payloads: Buffer[] = []
  let fault: string | undefined
  for (const piece of pieces) fault = opener.feed(piece, payload => payloads.push(payload))
  return { text: Buffer.concat(payloads), fault, complete: opener.complete }
}

/** Cut into pieces of `size`. */
const cut = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, i * size + size))

describe.each(RECORDED)('what ss-local sent with %s', (cipher, recorded) => {
  const stream = Buffer.from(recorded, 'hex')
  const text = Buffer.concat([EXAMPLE_ORG_443, Buffer.from('GET / HTTP/1.0\r\n\r\n')])

  test.each([1, 2, 7, 10_000])('opens in reads of %i bytes', size => {
    expect(open(cut(stream, size), undefined, secretOf(cipher))).toEqual({ text, fault: undefined, complete: true })
  })

  test('opens when two reads meet at any byte', () => {
    for (let at = 1; at < stream.length; at++) {
      expect(open([stream.subarray(0, at), stream.subarray(at)], undefined, secretOf(cipher)).text).toEqual(text)
    }
  })
})

test('any text, written in any parts, read in any parts, is the same text', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40_000 }), { maxLength: 4 }), fc.integer({ min: 1, max: 50_000 }), (parts, size) => {
      const sealer = new ChunkSealer(secret, new SaltFilter(64))
      const stream = Buffer.concat(parts.flatMap(part => sealer.seal(part)))
      expect(Buffer.compare(open(cut(stream, size)).text, Buffer.concat(parts))).toBe(0)
    }),
    { numRuns: 30, seed: 6 },
  )
})

describe('sealing', () => {
  test('makes chunks of at most 0x3FFF bytes, which the other side opens', () => {
    const text = Buffer.alloc(50_000, 'tun')
    const payloads = peer.payloads(Buffer.concat(new ChunkSealer(secret, new SaltFilter(64)).seal(text)))
    expect(payloads.map(({ length }) => length)).toEqual([MAX_PAYLOAD, MAX_PAYLOAD, MAX_PAYLOAD, 50_000 - 3 * MAX_PAYLOAD])
    expect(Buffer.compare(Buffer.concat(payloads), text)).toBe(0)
  })

  test('each stream has a salt of its own, sent once', () => {
    const streams = [1, 2].map(() => {
      const sealer = new ChunkSealer(secret, new SaltFilter(64))
      return [sealer.seal(Buffer.from('a')), sealer.seal(Buffer.from('b'))].map(pieces => Buffer.concat(pieces))
    })
    expect(streams[0][0].subarray(0, 32)).not.toEqual(streams[1][0].subarray(0, 32))
    expect(streams[0].map(({ length }) => length)).toEqual([32 + 18 + 17, 18 + 17])
  })
})

describe('what is not a server’s', () => {
  const chunks = [Buffer.from('first'), Buffer.from('second')]
  const stream = peer.stream(chunks)
  const salted = secret.saltLength
  const ends = [salted + 18 + 5 + 16, stream.length]

  test('a byte turned anywhere: nothing of its chunk or behind it comes out, and the fault is final', () => {
    for (let at = 0; at < stream.length; at++) {
      const turned = Buffer.from(stream)
      turned[at] ^= 0x40
      const { text, fault, complete } = open([turned, stream])
      expect([at, String(text), fault, complete]).toEqual([at, at < ends[0] ? '' : 'first', 'not sealed with our key', false])
    }
  })

  test('another password, and no Shadowsocks at all', () => {
    for (const bytes of [new NaivePeer(CIPHER, 'guess').stream(chunks), Buffer.from('HTTP/1.1 400 Bad Request\r\n'.repeat(4))]) {
      expect(open([bytes])).toMatchObject({ text: Buffer.of(), fault: 'not sealed with our key' })
    }
  })

  test('a stream that was recorded: nothing of it comes out a second time', () => {
    const salts = new SaltFilter(64)
    expect(open([stream], salts)).toMatchObject({ fault: undefined, complete: true })
    expect(open([stream], salts)).toMatchObject({ text: Buffer.of(), fault: 'a repetition of an earlier stream' })
    expect(open(cut(stream, 1), salts)).toMatchObject({ text: Buffer.of(), fault: 'a repetition of an earlier stream' })
  })

  test('our own stream, sent back to us', () => {
    const salts = new SaltFilter(64)
    const ours = Buffer.concat(new ChunkSealer(secret, salts).seal(Buffer.from('request')))
    expect(open([ours], salts)).toMatchObject({ text: Buffer.of(), fault: 'a repetition of an earlier stream' })
  })

  test('a salt in front of something false is not remembered: nobody can burn a server’s salt', () => {
    const salts = new SaltFilter(64)
    const turned = Buffer.from(stream)
    turned[salted] ^= 1
    open([turned], salts)
    expect(open([stream], salts)).toMatchObject({ fault: undefined, complete: true })
  })

  test.each([0, 0x4000, 0xffff])('a chunk that says it has %i bytes', length => {
    const sealed = peer.stream([Buffer.from('good'), Buffer.alloc(length)], [4, length])
    expect(open([sealed])).toMatchObject({ text: Buffer.from('good'), fault: 'not a chunk: its length is out of bounds' })
  })

  test('a chunk of 0x3FFF bytes is one', () => {
    expect(open([peer.stream([Buffer.alloc(0x3fff)])])).toMatchObject({ fault: undefined, complete: true })
  })

  test('it may end before its first byte and behind a chunk, nowhere else', () => {
    const whole = Array.from({ length: stream.length + 1 }, (_, at) => at).filter(at => open([stream.subarray(0, at)]).complete)
    expect(whole).toEqual([0, salted, ...ends])
  })
})
