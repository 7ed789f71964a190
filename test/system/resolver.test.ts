// The resolver of @tun/dns against unbound on loopback: UDP, TCP, DNS over TLS and over HTTPS with a CA of our own. unbound.conf(5).

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  createResolver,
  decodeMessage,
  filterSvcb,
  type Resolver,
  type ResolverOptions,
  TYPE,
  writeQuery,
} from '../../packages/dns/src/index.js'
import { until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { describeSystem } from './requirements.js'

describeSystem('the resolver, unbound and dnsdist', { peers: ['unbound', 'dnsdist', 'openssl'] }, () => {
  let directory = ''
  let unbound: ChildProcess
  let ports: [plain: number, tls: number, https: number]
  let dnsdist: ChildProcess
  let fronts: [tls: number, https: number]
  let ca = ''
  const opened: Resolver[] = []

  function resolver(nameserver: string, options: Partial<ResolverOptions> = {}): Resolver {
    const made = createResolver({ nameservers: [nameserver], connect: { tls: { ca } }, cache: false, rounds: 1, ...options })
    opened.push(made)
    return made
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'resolver-'))
    const file = (name: string) => join(directory, name)
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe', cwd: directory })
    openssl(...'req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Test-CA -keyout ca.key -out ca.pem'.split(' '))
    openssl(...'req -newkey rsa:2048 -nodes -subj /CN=dns.test -keyout server.key -out server.csr'.split(' '))
    writeFileSync(file('san'), 'subjectAltName=DNS:dns.test,IP:127.0.0.1\n')
    openssl(...'x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile san -out server.pem'.split(' '))
    ca = readFileSync(file('ca.pem'), 'utf8')
    ports = [await freePort(), await freePort(), await freePort()]
    const [plain, tls, https] = ports
    writeFileSync(
      file('unbound.conf'),
      `server:
  chroot: ""
  username: ""
  directory: "${directory}"
  pidfile: "${file('pid')}"
  logfile: ""
  use-syslog: no
  do-daemonize: no
  incoming-num-tcp: 200
  module-config: "iterator"
  interface: 127.0.0.1@${plain}
  interface: 127.0.0.1@${tls}
  interface: 127.0.0.1@${https}
  tls-port: ${tls}
  https-port: ${https}
  tls-service-key: "${file('server.key')}"
  tls-service-pem: "${file('server.pem')}"
  local-zone: "test." static
  local-data: 'web.test. 60 IN A 192.0.2.1'
  local-data: 'web.test. 60 IN AAAA 2001:db8::1'
  local-data: 'dns.test. 60 IN A 127.0.0.1'
  local-data: 'web.test. 60 IN HTTPS 1 . alpn="h2,h3" ipv4hint=192.0.2.1 ech="aGVsbG8=" ipv6hint=2001:db8::1'
${Array.from({ length: 40 }, (_, i) => `  local-data: 'many.test. 60 IN TXT "${String(i).padStart(2, '0')}${'x'.repeat(60)}"'\n`).join('')}remote-control:
  control-enable: no
`,
    )
    unbound = spawn(findBinary('unbound') as string, ['-d', '-c', file('unbound.conf')], { stdio: 'ignore' })
    for (const port of ports) await until(`unbound at ${port}`, 15_000, () => reachable(port))
    fronts = [await freePort(), await freePort()]
    const [frontTls, frontHttps] = fronts
    writeFileSync(
      file('dnsdist.conf'),
      `addTLSLocal("127.0.0.1:${frontTls}", "${file('server.pem')}", "${file('server.key')}")
addDOHLocal("127.0.0.1:${frontHttps}", "${file('server.pem')}", "${file('server.key')}", "/dns-query")
newServer("127.0.0.1:${plain}"):setUp()
`,
    )
    const args = ['--supervised', '--disable-syslog', '-C', file('dnsdist.conf'), '-l', `127.0.0.1:${await freePort()}`]
    dnsdist = spawn(findBinary('dnsdist') as string, args, { stdio: 'ignore' })
    for (const port of fronts) await until(`dnsdist at ${port}`, 15_000, () => reachable(port))
  })
  afterAll(async () => {
    for (const made of opened) made.close()
    for (const server of [dnsdist, unbound]) {
      if (server === undefined) continue
      server.kill('SIGKILL')
      await once(server, 'close')
    }
    rmSync(directory, { recursive: true, force: true })
  })

  const ways = () => [
    `127.0.0.1:${ports[0]}`,
    `tcp://127.0.0.1:${ports[0]}`,
    `tls://127.0.0.1:${ports[1]}`,
    `https://127.0.0.1:${ports[2]}/dns-query`,
    `tls://127.0.0.1:${fronts[0]}`,
    `https://127.0.0.1:${fronts[1]}/dns-query`,
  ]

  it('is asked by UDP, TCP, TLS and HTTPS: addresses, what does not exist, and answers that are too long for a datagram', async () => {
    for (const way of ways()) {
      const made = resolver(way)
      expect(await made.addresses('web.test', [4, 6]), way).toEqual(['192.0.2.1', '2001:db8::1'])
      expect(decodeMessage(await made.resolve(writeQuery('none.test', TYPE.A) as Uint8Array))?.rcode, way).toBe('NXDOMAIN')
      expect(decodeMessage(await made.resolve(writeQuery('many.test', 16) as Uint8Array))?.answers, way).toHaveLength(40)
    }
  })

  it('many at once share a connection; dnsdist, which reads no more of a burst over TLS at times, answers them all as well', async () => {
    for (const [i, way] of ways().slice(1).entries()) {
      let connections = 0
      const tcp = (to: { address: string; port: number }) => {
        connections++
        return connect({ host: to.address, port: to.port })
      }
      const made = resolver(way, { connect: { tls: { ca }, tcp }, rounds: 2 })
      await made.addresses('web.test', [4])
      const queries = Array.from({ length: 100 }, (_, i) => made.resolve(writeQuery(`n${i}.test`, TYPE.A) as Uint8Array))
      for (const answer of await Promise.all(queries)) expect(answer[3] & 15).toBe(3)
      expect(connections, way).toBeLessThanOrEqual(i < 3 ? 4 : 12)
    }
  })

  it('a name is asked for at the bootstrap server, and the certificate has to be the name’s', async () => {
    const bootstrap = [`127.0.0.1:${ports[0]}`]
    for (const way of [`tls://dns.test:${ports[1]}`, `https://dns.test:${ports[2]}/dns-query`]) {
      expect(await resolver(way, { bootstrap }).addresses('web.test', [4])).toEqual(['192.0.2.1'])
      const wrong = resolver(way.replace('dns.test', 'web.test'), {
        connect: { tls: { ca }, tcp: to => connect({ host: '127.0.0.1', port: to.port }) },
        bootstrap,
      })
      await expect(wrong.addresses('web.test', [4])).rejects.toMatchObject({ cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } })
    }
  })

  it('a certificate of nobody we know is refused', async () => {
    for (const way of ways().slice(2)) {
      await expect(resolver(way, { connect: {} }).addresses('web.test', [4])).rejects.toMatchObject({
        code: 'ERR_TUN_DNS_TIMEOUT',
        cause: { code: expect.stringMatching(/UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT)/) },
      })
    }
  })

  it('an HTTPS record, as a real server writes it, loses its hints and keeps alpn and ech', async () => {
    const answer = await resolver(ways()[0]).resolve(writeQuery('web.test', TYPE.HTTPS) as Uint8Array)
    expect(Buffer.from(answer).includes(Buffer.from([192, 0, 2, 1]))).toBe(true)
    const told = Buffer.from(filterSvcb(answer, { stripHints: true }) ?? [])
    expect(told.includes(Buffer.from([192, 0, 2, 1]))).toBe(false)
    expect([told.includes('h3'), told.includes('hello')]).toEqual([true, true])
  })
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function reachable(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
