// Owns: what ping sockets do, one function each, run by ping.test.ts in a network namespace of their own. Each answers facts as JSON.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPing } from '@tun/device'

const ip = (/** @type {string[]} */ ...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
const groups = (/** @type {string} */ range) => writeFileSync('/proc/sys/net/ipv4/ping_group_range', range)

/** A socket and what it was told. */
function open(/** @type {import('@tun/device').PingSocketOptions} */ options) {
  /** @type {unknown[]} */
  const told = []
  const socket = openPing(options, {
    reply: (sequence, from, payload, ttl) => void told.push([sequence, from, payload.length, payload.toString('latin1', 0, 8), ttl]),
    report: (sequence, to, report) => void told.push([sequence, to, report]),
  })
  return { socket, told }
}

async function until(/** @type {() => boolean} */ condition) {
  for (let i = 0; i < 800 && !condition(); i++) await sleep(5)
}

/** Both kinds of socket, both families: small, empty and large pings; two sockets at once are not told each other's. */
async function answers() {
  /** @type {Record<string, unknown>} */
  const results = {}
  for (const range of ['0 0', '1 0']) {
    groups(range)
    for (const [family, address] of /** @type {const} */ ([
      [4, '127.0.0.1'],
      [6, '::1'],
    ])) {
      const [a, b] = [open({ family }), open({ family })]
      const refused = [a.socket.send(address, 1, 9, Buffer.from('one')), b.socket.send(address, 2, 0, Buffer.from('two'))]
      a.socket.send(address, 65535, 0, Buffer.alloc(0))
      a.socket.send(address, 3, 0, Buffer.alloc(60_000, 'x'))
      await until(() => a.told.length === 3 && b.told.length === 1)
      results[`${family} ${a.socket.raw ? 'raw' : 'ping'}`] = { refused, a: a.told, b: b.told }
      for (const { socket } of [a, b]) socket.close()
    }
  }
  return results
}

/** This machine is the destination and, with an address nobody answers for, the router that says so. */
async function reports() {
  ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
  for (const name of ['v0', 'v1']) ip('link', 'set', name, 'up')
  ip('addr', 'add', '10.9.0.1/24', 'dev', 'v0')
  /** @type {Record<string, unknown>} */
  const results = {}
  for (const range of ['0 0', '1 0']) {
    groups(range)
    const { socket, told } = open({ family: 4 })
    socket.send('10.9.0.7', 5, 0, Buffer.from('lost'))
    await until(() => told.length > 0)
    const again = socket.send('127.0.0.1', 6, 0, Buffer.from('found')) // no errno of the last one is in its way
    await until(() => told.length > 1)
    results[socket.raw ? 'raw' : 'ping'] = { told, again }
    socket.close()
  }
  return results
}

async function bound() {
  ip('link', 'add', 'd0', 'type', 'veth', 'peer', 'name', 'd1')
  ip('link', 'set', 'd0', 'up')
  ip('addr', 'add', '10.9.0.1/24', 'dev', 'd0')
  ip('route', 'add', 'prohibit', '203.0.113.0/24')
  ip('route', 'add', '203.0.113.0/24', 'dev', 'd0', 'table', '7')
  ip('rule', 'add', 'fwmark', '7', 'lookup', '7')
  const send = (/** @type {object} */ options, to = '203.0.113.1') => {
    const { socket } = open({ family: 4, ...options })
    const refused = socket.send(to, 1, 0, Buffer.from('x'))
    socket.close()
    return refused ?? 'left'
  }
  const code = (/** @type {object} */ options) => {
    try {
      return send(options)
    } catch (error) {
      return /** @type {{ code: string }} */ (error).code
    }
  }
  return {
    plain: send({}),
    byMark: send({ mark: 7 }),
    byDevice: send({ device: 'd0' }, '10.9.0.2'),
    noDevice: code({ device: 'nope0' }),
    noAddress: code({ localAddress: '192.0.2.1' }),
    otherFamily: send({}, '::1'),
    noHost: send({}, 'nobody'),
    tooLarge: (() => {
      const { socket } = open({ family: 4 })
      const refused = socket.send('127.0.0.1', 1, 0, Buffer.alloc(65_536))
      socket.close()
      return [refused, socket.send('127.0.0.1', 1, 0, Buffer.alloc(1))]
    })(),
  }
}

async function forbidden() {
  groups('1 0')
  process.setgroups?.([])
  process.setgid?.(65534)
  process.setuid?.(65534)
  try {
    open({ family: 4 })
    return {}
  } catch (error) {
    const { code, hint } = /** @type {Error & { code: string, hint: string }} */ (error)
    return { code, hint }
  }
}

const scenarios = { answers, reports, bound, forbidden }
const name = /** @type {keyof typeof scenarios} */ (process.argv[2])
process.stdout.write(JSON.stringify(await scenarios[name]()), () => process.exit())
