import { describe, expect, it } from 'vitest'
import { LINKTYPE_RAW, PcapWriter, readPcap } from './pcap.js'

function written(fill: (pcap: PcapWriter) => void): Uint8Array {
  const parts: number[] = []
  fill(new PcapWriter(bytes => parts.push(...bytes)))
  return Uint8Array.from(parts)
}

describe('pcap', () => {
  it('writes what the format says, byte by byte', () => {
    const file = written(pcap => pcap.packet(Uint8Array.of(0x45, 0xaa), 1500.25))
    expect(Buffer.from(file).toString('hex')).toBe(
      'd4c3b2a1 0200 0400 00000000 00000000 00000400 65000000 01000000 1aa20700 02000000 02000000 45aa'.replaceAll(' ', ''),
    )
  })

  it('reads back packets and times, those beyond 2³² ms too', () => {
    const file = written(pcap => {
      pcap.packet(Uint8Array.of(1, 2, 3), 0.5)
      pcap.packet(new Uint8Array(0), 2 ** 32 + 7)
    })
    const { linkType, packets } = readPcap(file)
    expect(linkType).toBe(LINKTYPE_RAW)
    expect(packets).toEqual([
      { at: 0.5, bytes: Uint8Array.of(1, 2, 3) },
      { at: 2 ** 32 + 7, bytes: new Uint8Array(0) },
    ])
  })

  it('reads a file of the other byte order, leaves out a record that was cut off, and says what is no pcap file', () => {
    const big = Buffer.from('a1b2c3d40002000400000000000000000004000000000065000000010000000a0000000100000001ff', 'hex')
    expect(readPcap(big).packets).toEqual([{ at: 1000.01, bytes: Uint8Array.of(0xff) }])
    expect(readPcap(big.subarray(0, big.length - 1)).packets).toEqual([])
    expect(() => readPcap(new Uint8Array(30))).toThrow(/not a pcap file: it starts with 0x0/)
    expect(() => readPcap(new Uint8Array(3))).toThrow(/3 bytes/)
  })
})
