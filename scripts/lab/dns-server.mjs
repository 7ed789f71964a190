// A DNS server for labs: node dns-server.mjs ADDRESS NAME=ADDRESS[,ADDRESS…] …   Answers A and AAAA of those names, NXDOMAIN to others.

import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'

const [listen, ...entries] = process.argv.slice(2)
const zone = new Map(entries.map(entry => [entry.split('=')[0], entry.split('=')[1].split(',')]))

const socket = createSocket(isIPv6(listen) ? 'udp6' : 'udp4')
socket.on('message', (query, from) => {
  const answer = respond(query)
  if (answer) socket.send(answer, from.port, from.address)
})
socket.bind(53, listen, () => console.log(`listening on ${listen}`))

/** RFC 1035 §4.1, one question. */
function respond(/** @type {Buffer} */ query) {
  if (query.length < 17 || query[2] & 0x80) return undefined
  const labels = []
  let at = 12
  while (at < query.length && query[at] > 0 && query[at] < 64) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]))
    at += 1 + query[at]
  }
  if (at + 5 > query.length) return undefined
  const type = query.readUInt16BE(at + 1)
  const name = labels.join('.').toLowerCase()
  const known = zone.get(name)
  console.log(`${name} type ${type}: ${known ?? 'no such name'}`)

  const wanted = (known ?? []).filter(address => type === (isIPv6(address) ? 28 : 1))
  const header = Buffer.alloc(12)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(0x8180 | (query[2] & 1 ? 0x100 : 0) | (known ? 0 : 3), 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(wanted.length, 6)
  const records = wanted.map(address => {
    const rdata = isIPv6(address) ? bytes6(address) : Buffer.from(address.split('.').map(Number))
    const record = Buffer.alloc(12)
    record.writeUInt16BE(0xc00c, 0) // the name of the question
    record.writeUInt16BE(type, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(60, 6)
    record.writeUInt16BE(rdata.length, 10)
    return Buffer.concat([record, rdata])
  })
  return Buffer.concat([header, query.subarray(12, at + 5), ...records])
}

function bytes6(/** @type {string} */ address) {
  const [head, tail] = address.split('::').map(part => (part ? part.split(':') : []))
  const words = tail ? [...head, ...new Array(8 - head.length - tail.length).fill('0'), ...tail] : head
  return Buffer.from(words.map(word => word.padStart(4, '0')).join(''), 'hex')
}
