// Owns: the programs of others that the tests talk to, and what brings them. Nothing is installed unasked:
// only `--install`, or TUN_REQUIRE=all (what CI sets), lets it call apt-get, and only as root.
//
//   node scripts/peers.mjs             what is here, what is missing, how to get it
//   node scripts/peers.mjs --install   gets what `npm test` uses

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** @typedef {{ name: string, binary: string, package: string, version: string[], for: string, used: boolean }} Peer */

/** `used`: a test of `npm test` talks to it; the others are for work by hand. @type {Peer[]} */
export const PEERS = [
  { name: 'ip', binary: 'ip', package: 'iproute2', version: ['-V'], for: 'namespaces, routes, ss', used: true },
  { name: 'setpriv', binary: 'setpriv', package: 'util-linux', version: ['--version'], for: 'applications that are not root', used: true },
  { name: 'setcap', binary: 'setcap', package: 'libcap2-bin', version: ['-h'], for: 'CAP_NET_ADMIN for a copy of node', used: true },
  { name: 'curl', binary: 'curl', package: 'curl', version: ['--version'], for: 'npm run try, HTTP by name', used: true },
  { name: 'nginx', binary: 'nginx', package: 'nginx-light', version: ['-v'], for: 'a web server', used: true },
  { name: 'git', binary: 'git', package: 'git', version: ['--version'], for: 'a clone over HTTP', used: true },
  { name: 'danted', binary: 'danted', package: 'dante-server', version: ['-v'], for: 'a SOCKS5 server with UDP', used: true },
  { name: 'ss-server', binary: 'ss-server', package: 'shadowsocks-libev', version: ['-h'], for: 'a Shadowsocks server', used: true },
  { name: 'unbound', binary: 'unbound', package: 'unbound', version: ['-V'], for: 'a name server behind the proxy', used: true },
  {
    name: 'dnsdist',
    binary: 'dnsdist',
    package: 'dnsdist',
    version: ['--version'],
    for: 'DNS over TLS and HTTPS by another hand',
    used: true,
  },
  { name: 'openssl', binary: 'openssl', package: 'openssl', version: ['version'], for: 'certificates of a name server', used: true },
  {
    name: 'redis-server',
    binary: 'redis-server',
    package: 'redis-server',
    version: ['--version'],
    for: 'fake IPs of several gateways',
    used: true,
  },
  { name: 'dig', binary: 'dig', package: 'bind9-dnsutils', version: ['-v'], for: 'DNS queries, UDP and TCP', used: true },
  { name: 'kdig', binary: 'kdig', package: 'knot-dnsutils', version: ['-V'], for: 'the same by another hand', used: true },
  { name: 'dnsperf', binary: 'dnsperf', package: 'dnsperf', version: ['-h'], for: 'bench/dns.mjs', used: false },
  { name: 'chromium', binary: 'chromium', package: 'chromium', version: ['--version'], for: 'HTTPS records at a browser', used: false },
  { name: 'iperf3', binary: 'iperf3', package: 'iperf3', version: ['--version'], for: 'TCP and UDP at full speed', used: true },
  { name: 'turnserver', binary: 'turnserver', package: 'coturn', version: ['--version'], for: 'STUN: what kind of NAT we are', used: true },
  { name: 'gtlsserver', binary: 'gtlsserver', package: 'ngtcp2-server', version: ['--help'], for: 'an HTTP/3 server', used: true },
  { name: 'gtlsclient', binary: 'gtlsclient', package: 'ngtcp2-client', version: ['--help'], for: 'HTTP/3 by another hand', used: true },
  { name: 'python3', binary: 'python3', package: 'python3', version: ['--version'], for: 'a TUN handed over as fd://', used: true },
  { name: 'tcpdump', binary: 'tcpdump', package: 'tcpdump', version: ['--version'], for: 'a pcap of each failed system test', used: true },
  { name: 'tshark', binary: 'tshark', package: 'tshark', version: ['--version'], for: 'reading what tun dump writes', used: true },
  { name: 'g++', binary: 'g++', package: 'build-essential', version: ['--version'], for: 'building the addon', used: true },
  { name: 'ping', binary: 'ping', package: 'iputils-ping', version: ['-V'], for: 'pings through the TUN', used: true },
  { name: 'tracepath', binary: 'tracepath', package: 'iputils-tracepath', version: ['-V'], for: 'routes and their MTU', used: true },
  { name: 'traceroute', binary: 'traceroute', package: 'traceroute', version: ['-V'], for: 'routes, hop by hop', used: true },
  { name: 'nft', binary: 'nft', package: 'nftables', version: ['--version'], for: 'packets lost by chance', used: true },
]

// Debian keeps servers in sbin, which a user's PATH does not have.
const PLACES = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']

/** The program's full path, or undefined. */
export function findBinary(/** @type {string} */ binary) {
  for (const place of PLACES) {
    try {
      accessSync(join(place, binary), constants.X_OK)
      return join(place, binary)
    } catch {} // not there
  }
  return undefined
}

/** The line that brings a peer. */
export function installLine(/** @type {string} */ name) {
  const peer = PEERS.find(p => p.name === name)
  return `apt-get install ${peer?.package ?? name}`
}

/** Why a test that needs these peers cannot run, or undefined. */
export function missingPeers(/** @type {string[]} */ ...names) {
  const missing = names.filter(name => !findBinary(PEERS.find(p => p.name === name)?.binary ?? name))
  if (missing.length === 0) return undefined
  const packages = missing.map(name => PEERS.find(p => p.name === name)?.package ?? name)
  return `${missing.join(', ')} missing: apt-get install ${packages.join(' ')}`
}

/** Installs what `npm test` uses and is missing; answers what went wrong, or undefined. */
export function installMissing() {
  const packages = PEERS.filter(peer => peer.used && !findBinary(peer.binary)).map(peer => peer.package)
  if (packages.length === 0) return undefined
  if (process.getuid?.() !== 0) return `not root: apt-get install ${packages.join(' ')}`
  if (!findBinary('apt-get')) return `no apt-get here; missing: ${packages.join(', ')}`
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [
    ['update', '-q'],
    ['install', '-q', '-y', '--no-install-recommends', ...packages],
  ]) {
    const done = spawnSync('apt-get', args, { env, encoding: 'utf8', timeout: 300_000 })
    if (done.status !== 0)
      return `apt-get ${args.join(' ')}: ${(done.stderr || done.stdout || String(done.error)).trim().split('\n').at(-1)}`
  }
  return undefined
}

function versionOf(/** @type {Peer} */ peer, /** @type {string} */ path) {
  const { stdout, stderr } = spawnSync(path, peer.version, { encoding: 'utf8', timeout: 5000 })
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? 'here'
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const failure = process.argv.includes('--install') ? installMissing() : undefined
  if (failure) console.error(failure)
  for (const peer of PEERS) {
    const path = findBinary(peer.binary)
    const state = path ? versionOf(peer, path) : `missing: ${installLine(peer.name)}`
    console.log(`${path ? '✓' : '–'} ${peer.name.padEnd(10)} ${peer.for.padEnd(36)} ${state}`)
  }
  if (failure) process.exitCode = 1
}
