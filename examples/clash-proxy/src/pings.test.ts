import { expect, test } from 'vitest'
import { readConfig } from './config.js'
import { answerPing, PING_MODES } from './pings.js'

const needs = { direct: { dial: () => Promise.reject(new Error()) }, lookup: () => Promise.resolve([]) }
const modeOf = (line: string) => readConfig(`tun: {enable: true, device-url: 'dev://tun0'}\n${line}`, 'c', needs).icmp

test("'icmp' is reject, forward, fake or drop, in any case of letters; anything else is an error with its place", () => {
  expect([modeOf(''), modeOf('icmp: fake'), modeOf('icmp: Drop'), modeOf('icmp: Forward')]).toEqual(['reject', 'fake', 'drop', 'forward'])
  for (const bad of ['pass', 'true', '[]'])
    expect(() => modeOf(`icmp: ${bad}`)).toThrow('c:2:7: icmp: expected one of reject, forward, fake, drop')
})

test("mihomo's disable-icmp-forwarding is icmp: fake, or forward; an own icmp goes before it, and a contradiction is told", () => {
  const read = (tun: string, more = '') => readConfig(`tun: {enable: true, device-url: 'dev://tun0', ${tun}}\n${more}`, 'c', needs)
  const said = ({ icmp, warnings }: ReturnType<typeof read>) => [icmp, ...warnings.map(({ id, message }) => `${id} ${message}`)]
  expect(said(read('disable-icmp-forwarding: yes'))).toEqual(['fake'])
  expect(said(read('disable-icmp-forwarding: false'))).toEqual(['forward'])
  expect(said(read('disable-icmp-forwarding: false', 'icmp: reject'))).toEqual(['reject'])
  expect(said(read('disable-icmp-forwarding: true', 'icmp: fake'))).toEqual(['fake'])
  expect(said(read('disable-icmp-forwarding: true', 'icmp: Drop'))).toEqual([
    'drop',
    "tun/contradiction 'icmp: drop' is there as well and is taken",
  ])
  expect(() => read('disable-icmp-forwarding: 7')).toThrow('tun.disable-icmp-forwarding: expected true or false, got 7')
})

test('each mode is told to the ping', () => {
  const told: string[] = []
  const ping = { reply: () => told.push('reply'), unreachable: (why: string) => told.push(why), ignore: () => told.push('ignore') }
  for (const mode of PING_MODES) answerPing(mode, ping as never, () => told.push('forward'))
  expect(told).toEqual(['prohibited', 'forward', 'reply', 'ignore'])
})
