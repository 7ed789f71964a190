import { expect, it } from 'vitest'
import { PcapngWriter } from './pcapng.js'

function blocksOf(fill: (pcapng: PcapngWriter) => void): string[] {
  const blocks: string[] = []
  fill(new PcapngWriter(block => blocks.push(Buffer.from(block).toString('hex')), { application: 'tun', interfaceName: 'tun0' }))
  return blocks
}
const hex = (text: string) => text.replaceAll(/\s/g, '')

it('writes section, interface, packet, name and statistics as the format says, byte by byte', () => {
  const at = 2 ** 32 / 1000 + 1.5 // the stamp’s high word is 1
  const blocks = blocksOf(pcapng => {
    pcapng.packet(Uint8Array.of(0x45, 1, 2), at, { comment: 'hi', outgoing: true })
    pcapng.packet(Uint8Array.of(0x60), at)
    pcapng.name('198.18.0.5', 'ab')
    pcapng.name('fd00::1', 'abc')
    pcapng.name('nonsense', 'x')
    pcapng.statistics(at, 7, 3)
  })
  expect(blocks).toEqual([
    hex(`0a0d0d0a 28000000 4d3c2b1a 0100 0000 ffffffff ffffffff  0400 0300 74756e00  0000 0000  28000000`),
    hex(`01000000 20000000 6500 0000 00000000  0200 0400 74756e30  0000 0000  20000000`),
    hex(`06000000 38000000 00000000 01000000 dc050000 03000000 03000000 45010200
         0100 0200 68690000  0200 0400 02000000  0000 0000  38000000`),
    hex(`06000000 24000000 00000000 01000000 dc050000 01000000 01000000 60000000 24000000`),
    hex(`04000000 1c000000 0100 0700 c6120005 61620000 00000000 1c000000`),
    hex(`04000000 28000000 0200 1400 fd00000000000000 0000000000000001 61626300 00000000 28000000`),
    hex(`05000000 34000000 00000000 01000000 dc050000 0400 0800 0700000000000000 0500 0800 0300000000000000 0000 0000 34000000`),
  ])
})

it('says of every block its length twice, in whole words, whatever is in it', () => {
  const blocks = blocksOf(pcapng => {
    for (let n = 0; n < 9; n++) pcapng.packet(new Uint8Array(n), 0, { comment: 'x'.repeat(n), outgoing: false })
  })
  for (const block of blocks.map(text => Buffer.from(text, 'hex'))) {
    expect(block.length % 4).toBe(0)
    expect(block.readUInt32LE(4)).toBe(block.length)
    expect(block.readUInt32LE(block.length - 4)).toBe(block.length)
  }
})
