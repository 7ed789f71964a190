// Owns: the servers of others that system tests talk to, each with the configuration that the tests rely on. They run in a scene's
// servers namespace and end with it. Read nginx(8), unbound.conf(5), danted.conf(5), turnserver(1),
// ss-server(1), gtlsserver --help.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Program } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { DNS4, HOP4, HOP6, type Scene, SERVER4, SERVER6 } from './namespace.js'

export const SOCKS_PORT = 1080
/** The password of every Shadowsocks server. */
export const SS_PASSWORD = 'correct horse'
/** The longest datagram that ss-server carries: it counts on an Ethernet. */
export const SS_LARGEST = 1390
/** The second address of the STUN server. */
export const SECOND4 = '203.0.113.11'

/** Two names of the same machine for each way that the proxy of udp-sources.test.ts can take. */
export const TWINS = (way: string) => [`one.${way}.test`, `two.${way}.test`]
/** What unbound knows: NAME → records of its zone. */
const ZONE = [
  `web.test. 60 IN A ${SERVER4}`,
  `web.test. 60 IN AAAA ${SERVER6}`,
  'web.test. 60 IN MX 10 mail.web.test.',
  'text.test. 60 IN TXT "from unbound"',
  ...['direct', 'dante', 'ss'].flatMap(TWINS).map(name => `${name}. 60 IN A ${SERVER4}`),
  ...Array.from({ length: 40 }, (_, i) => `many.test. 60 IN TXT "${String(i).padStart(2, '0')}${'x'.repeat(60)}"`),
]

/** A web server on both addresses, port 80; answers the directory it serves. `/` says who asked. */
export async function startNginx(scene: Scene): Promise<string> {
  const root = scene.file('www')
  mkdirSync(root)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${scene.file(`nginx-${kind}`)};`)
  const text = `daemon off; pid ${scene.file('nginx.pid')}; error_log stderr; worker_processes 1; events { worker_connections 1024; }
http { access_log off; default_type text/plain; ${temporary.join(' ')}
  server { listen ${SERVER4}:80; listen [${SERVER6}]:80; root ${root};
    location = / { return 200 "hello $remote_addr, you asked for $host\\n"; } } }\n`
  await start(scene, 'nginx', 'nginx.conf', text, path => ['-p', scene.file(''), '-c', path], 80)
  return root
}

/** A recursive resolver with a zone of its own, at DNS4. */
export async function startUnbound(scene: Scene): Promise<void> {
  scene.servers.address(`${DNS4}/32`, 'lo')
  const text = `server:
  chroot: ""
  username: ""
  directory: "${scene.file('')}"
  pidfile: "${scene.file('unbound.pid')}"
  logfile: ""
  use-syslog: no
  do-daemonize: no
  interface: ${DNS4}
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  local-zone: "test." static
${ZONE.map(record => `  local-data: '${record}'\n`).join('')}remote-control:
  control-enable: no
`
  await start(scene, 'unbound', 'unbound.conf', text, path => ['-d', '-c', path], 53)
}

/** A SOCKS5 proxy with UDP, full cone: without `udp.connectdst: no` only who was written to may answer. */
export async function startDante(scene: Scene): Promise<void> {
  const text = `logoutput: stderr
internal: ${HOP4} port = ${SOCKS_PORT}
external.protocol: ipv4 ipv6
external: uplink
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
udp.connectdst: no
client pass { from: 0/0 to: 0/0 }
socks pass { from: 0/0 to: 0/0
  command: bind connect udpassociate }
socks pass { from: 0/0 to: 0/0
  command: bindreply udpreply }
`
  await start(scene, 'danted', 'danted.conf', text, path => ['-f', path, '-p', scene.file('danted.pid')], SOCKS_PORT)
}

/** A Shadowsocks server, TCP and UDP, full cone. It speaks from the wire's addresses: to each address of its own machine from another. */
export async function startShadowsocks(scene: Scene, port: number, cipher: string): Promise<Program> {
  const local = { local_ipv4_address: HOP4, local_ipv6_address: HOP6 }
  const config = { server: [HOP4], server_port: port, password: SS_PASSWORD, method: cipher, timeout: 60, mode: 'tcp_and_udp', ...local }
  const path = scene.file(`ss-${port}.json`)
  writeFileSync(path, JSON.stringify(config))
  const program = scene.servers.start(binary('ss-server'), ['-c', path, '-u', '-v'])
  await scene.servers.listening(port)
  await scene.servers.listening(port, { udp: true })
  return program
}

/** A STUN server with two addresses and two ports, as RFC 5780 wants it. */
export async function startCoturn(scene: Scene): Promise<void> {
  scene.servers.address(`${SECOND4}/32`, 'lo')
  const args = ['-n', '--stun-only', '-L', SERVER4, '-L', SECOND4, '-p', '3478', '--no-tls', '--no-dtls', '--no-cli']
  const files = ['--log-file', 'stdout', '--simple-log', '--pidfile', scene.file('turn.pid'), '--userdb', scene.file('turndb')]
  scene.servers.start(binary('turnserver'), [...args, ...files])
  await scene.servers.listening(3479, { udp: true })
}

/** An HTTP/3 server on every address; answers the directory it serves. */
export async function startQuic(scene: Scene, port: number): Promise<string> {
  const [root, key, certificate, types] = ['www3', 'quic.key', 'quic.pem', 'mime.types'].map(name => scene.file(name))
  mkdirSync(root)
  writeFileSync(types, '') // the machine may have none
  const made = await scene.servers.run(binary('openssl'), [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
    ...['-subj', '/CN=localhost', '-keyout', key, '-out', certificate],
  ])
  if (made.code !== 0) throw new Error(`openssl ended with ${made.code}: ${made.stderr}`)
  const options = ['-q', `--htdocs=${root}`, `--mime-types-file=${types}`]
  scene.servers.start(binary('gtlsserver'), [...options, '*', String(port), key, certificate])
  await scene.servers.listening(port, { udp: true })
  return root
}

/** iperf3 for one test after the other. */
export async function startIperf(scene: Scene): Promise<Program> {
  const program = scene.servers.start(binary('iperf3'), ['-s', '-B', SERVER4])
  await scene.servers.listening(5201)
  return program
}

async function start(
  scene: Scene,
  name: string,
  file: string,
  text: string,
  args: (path: string) => string[],
  port: number,
): Promise<void> {
  const path = join(scene.file(file))
  writeFileSync(path, text)
  const program = scene.servers.start(binary(name), args(path))
  const ended = program.exited.then(() => Promise.reject(new Error(`${name} ended:\n${program.tail()}`)))
  ended.catch(() => {}) // later it ends with the scene
  await Promise.race([scene.servers.listening(port), ended])
}

function binary(name: string): string {
  const path = findBinary(name)
  if (path === undefined) throw new Error(`${name} is missing`) // describeSystem has looked
  return path
}
