import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frame, TcpFramer } from './frames.js'

test('messages come out whole and in order however the stream is cut', () => {
  const messages = fc.array(fc.uint8Array({ minLength: 1, maxLength: 600 }), { maxLength: 8 })
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(frame))
      const framer = new TcpFramer()
      const got: Uint8Array[] = []
      for (let at = 0, i = 0; at < stream.length; i++) {
        const chunk = Uint8Array.from(stream.subarray(at, at + cuts[i % cuts.length]))
        got.push(...framer.push(chunk))
        at += chunk.length
        chunk.fill(0xee) // only borrowed
      }
      expect(got).toEqual(sent)
      expect(framer.pending).toBe(0)
    }),
  )
})

test('a length alone takes no memory for what has not come', () => {
  const framer = new TcpFramer()
  expect(framer.push(Uint8Array.of(0xff, 0xff, 1))).toEqual([])
  expect(framer.pending).toBe(3)
  expect((framer as unknown as { buffer: Uint8Array }).buffer.length).toBeLessThan(100)
})

test('a message over the limit ends the stream, those before it are given out', () => {
  const framer = new TcpFramer(10)
  expect(framer.push(Buffer.concat([frame(new Uint8Array(10)), frame(new Uint8Array(11))]))).toEqual([new Uint8Array(10)])
  expect(framer.failed).toBe(true)
  expect(framer.push(frame(new Uint8Array(1)))).toEqual([])
})

test('empty messages are passed over', () => {
  expect(new TcpFramer().push(Uint8Array.of(0, 0, 0, 0, 0, 1, 7))).toEqual([Uint8Array.of(7)])
})

test('what the length field cannot say is refused', () => {
  expect(frame(new Uint8Array(65535)).length).toBe(65537)
  expect(() => frame(new Uint8Array(65536))).toThrow(expect.objectContaining({ code: 'ERR_TUN_DNS_LENGTH' }))
})
