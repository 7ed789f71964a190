// Owns: packets and rows for the tests, and the naive model of every sum the addon computes.
// The column layout is written out here once more on purpose: it checks the addon against packet-batch.ts.

export const OK = 0
export const BLOCKED = 1
export const DOWN = 2
export const GONE = 3
export const EOF = 4
export const CSUM_PARTIAL = 1
export const CSUM_GOOD = 2
export const CSUM_BAD = 4
export const ROW_INVALID = 8
export const GSO_TCP4 = 1
export const GSO_TCP6 = 2
export const GSO_UDP = 3

const COLUMNS = ['start', 'length', 'gsoType', 'gsoSize', 'csumStart', 'csumOffset', 'flags', 'pieceAt', 'pieceCount']

export class Rows {
  constructor(capacity = 64, pieceCapacity = 256, slabBytes = 1 << 20) {
    this.capacity = capacity
    this.pieceCapacity = pieceCapacity
    this.slab = new Uint8Array(slabBytes)
    this.table = new Int32Array(8 + 9 * capacity + 2 * pieceCapacity)
    this.pieces = []
    this.count = 0
    this.first = 0
    this.used = 0
  }

  get status() {
    return this.table[0]
  }

  row(i) {
    return Object.fromEntries(COLUMNS.map((name, column) => [name, this.table[8 + column * this.capacity + i]]))
  }

  packet(i) {
    const { start, length } = this.row(i)
    return this.slab.slice(start, start + length)
  }

  /** A row to send: `header` bytes, then `pieces`. */
  add(header, fields = {}, pieces = []) {
    const row = { start: this.used, length: header.length, gsoType: 0, gsoSize: 0, csumStart: 0, csumOffset: 0, flags: 0, ...fields }
    row.pieceAt = this.pieces.length
    row.pieceCount = pieces.length
    this.slab.set(header, this.used)
    this.used += header.length
    COLUMNS.forEach((name, column) => {
      this.table[8 + column * this.capacity + this.count] = row[name]
    })
    for (const piece of pieces) {
      const at = 8 + 9 * this.capacity + this.pieces.length
      this.table[at] = 0
      this.table[at + this.pieceCapacity] = piece.length
      this.pieces.push(piece)
    }
    this.count++
    return this
  }

  read(tun) {
    const rows = tun.read(this.slab, this.used, this.table, this.count, this.capacity)
    this.count += rows
    this.used = this.table[2]
    return rows
  }

  write(tun) {
    const done = tun.write(this.slab, this.table, this.capacity, this.pieceCapacity, this.first, this.count, this.pieces)
    this.first += done
    return done
  }

  clear() {
    this.count = this.first = this.used = 0
    this.pieces.length = 0
    this.table[0] = OK
  }
}

/** RFC 1071 as it is written: 16-bit words, end-around carry at every step. Not complemented. */
export function naiveSum(bytes, sum = 0) {
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] << 8) | (i + 1 < bytes.length ? bytes[i + 1] : 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

export const naiveChecksum = (bytes, sum = 0) => naiveSum(bytes, sum) ^ 0xffff

export function address(text) {
  if (!text.includes(':')) return Uint8Array.from(text.split('.'), Number)
  const [head, tail] = text.split('::').map(part => (part ? part.split(':') : []))
  const groups = [...head, ...Array(8 - head.length - (tail?.length ?? 0)).fill('0'), ...(tail ?? [])]
  return Uint8Array.from(groups.flatMap(group => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]))
}

export function pseudoSum(source, destination, protocol, length) {
  return naiveSum([...source, ...destination, 0, protocol, length >> 8, length & 255])
}

const be16 = value => [(value >> 8) & 255, value & 255]
const be32 = value => [...be16(value >>> 16), ...be16(value & 0xffff)]

/** An IP header for `length` bytes of transport, identification 1 in IPv4. */
export function ipHeader(source, destination, protocol, length) {
  if (source.length === 16) return Uint8Array.from([0x60, 0, 0, 0, ...be16(length), protocol, 64, ...source, ...destination])
  const header = Uint8Array.from([0x45, 0, ...be16(20 + length), 0, 1, 0x40, 0, 64, protocol, 0, 0, ...source, ...destination])
  header.set(be16(naiveChecksum(header)), 10)
  return header
}

/** `partial`: only the pseudo header's sum, else the complete checksum. */
export function udp(from, to, payload, partial = false) {
  const [source, sourcePort] = from
  const [destination, destinationPort] = to
  const length = 8 + payload.length
  const header = Uint8Array.from([...be16(sourcePort), ...be16(destinationPort), ...be16(length), 0, 0])
  return transport(source, destination, 17, header, 6, payload, partial)
}

export function tcp(from, to, { seq, ack = 0, flags, window = 65535 }, payload = new Uint8Array(), partial = false) {
  const [source, sourcePort] = from
  const [destination, destinationPort] = to
  const ports = [...be16(sourcePort), ...be16(destinationPort)]
  const header = Uint8Array.from([...ports, ...be32(seq), ...be32(ack), 0x50, flags, ...be16(window), 0, 0, 0, 0])
  return transport(source, destination, 6, header, 16, payload, partial)
}

function transport(source, destination, protocol, header, csumAt, payload, partial) {
  const length = header.length + payload.length
  const pseudo = pseudoSum(source, destination, protocol, length)
  const sum = naiveSum(payload, naiveSum(header, pseudo)) ^ 0xffff
  header.set(be16(partial ? pseudo : protocol === 17 && sum === 0 ? 0xffff : sum), csumAt)
  return Uint8Array.from([...ipHeader(source, destination, protocol, length), ...header, ...payload])
}

/** Where the transport's sum starts in packets made here, and where its field is from there. */
export function csum(packet) {
  const v4 = packet[0] >> 4 === 4
  return { flags: CSUM_PARTIAL, csumStart: v4 ? 20 : 40, csumOffset: packet[v4 ? 9 : 6] === 17 ? 6 : 16 }
}

export function bytes(length, seed = 1) {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state >> 16
  })
}
