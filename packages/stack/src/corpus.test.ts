import { describe, expect, test } from 'vitest'
import { corpusPackets, SEGMENTS } from './testing/corpus.js'
import { packetOk } from './testing/oracle.js'
import { Script } from './testing/script.js'

const PEER = 'mss 1000,sackOK,TS val 1 ecr 0'

/** Ten segments of ours are out. */
function connected(): Script {
  const t = new Script()
  t.recv(`S 1000:1000 <${PEER}>`)
  t.recv('A 1001:1001 ack 1')
  t.write(9000)
  t.drainSent()
  return t
}

/** It still carries bytes both ways and ends. */
function works(t: Script): void {
  t.win = 65_535
  t.advance(1000)
  t.recv('PA 1001:1101 ack 9001 <TS val 2000 ecr 0>')
  expect([t.readBytes, t.connection.sndUna]).toEqual([100, t.connection.sndNxt])
  t.recv('FA 1101:1101 ack 9001 <TS val 2000 ecr 0>')
  t.end()
  t.recv('A 1102:1102 ack 9002 <TS val 2000 ecr 0>')
  expect(t.events.at(-1)).toBe('gone')
}

function accounted(t: Script): void {
  const { rowsIn, accounted } = t.stack.stats
  expect(accounted).toBe(rowsIn)
  for (const packet of t.outbox.splice(0)) expect(packetOk(packet)).toBe(true)
}

/** `tcp`: it came so far as to be a segment, whoever's. */
function counters({ stack: { stats } }: Script) {
  return { ...stats, ...stats.drops, tcp: stats.tcp + stats.tcpAnswered + stats.drops.tcpStray }
}

describe('packets: counted where they belong, answered with whole packets only, whatever else is going on', () => {
  test.each(corpusPackets().map(p => [p.what, p] as const))('%s', (_, { bytes, counter }) => {
    const idle = new Script({ accept: false })
    const busy = connected()
    for (const t of [idle, busy]) {
      const before: Record<string, unknown> = counters(t)
      t.inject(bytes)
      const after: Record<string, unknown> = counters(t)
      if (counter !== null) expect((after[counter] as number) - (before[counter] as number), counter).toBe(1)
      accounted(t)
    }
    busy.connections.splice(1) // what it opened is another flow
    works(busy)
    // Again and again, in every row a device may make of it.
    for (let i = 0; i < 50; i++) idle.inject(bytes)
    idle.advance(200_000)
    accounted(idle)
    expect([idle.stack.tcp.flows.size, idle.stack.slabs.inUse, idle.stack.nextTimeout()]).toEqual([0, 1, Infinity])
  })
})

describe('segments: none of them ends a connection or harms what follows', () => {
  test.each(SEGMENTS)('%s', (_, line) => {
    for (const times of [1, 100]) {
      const t = connected()
      for (let i = 0; i < times; i++) t.recv(line)
      accounted(t)
      works(t)
    }
  })
})
