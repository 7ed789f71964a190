// Owns: who takes part in bench/tun.mjs and how each is started: all do the same, everything to the SOCKS5 server on loopback.
// Nothing is installed: what is not on PATH is left out and named.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { findBinary } from '../../scripts/peers.mjs'

export const NIC = 'tun0'
export const SOCKS = 1080
const PROXY = fileURLToPath(new URL('../../examples/clash-proxy/bin/clash-proxy.js', import.meta.url))

/**
 * `binaries`: the names it goes by, none = no program. `config`: what is written into the file whose path `args` gets.
 * @typedef {{ name: string, mtu: number, binaries: string[], config?: string, args: (config: string) => string[],
 *   version?: string[] }} Contestant
 * @typedef {Contestant & { command?: string }} Present
 */

const clash = (/** @type {boolean} */ gso) => `log-level: error
tun: { enable: true, device-url: 'dev://${NIC}', mtu: 1500, gso: ${gso} }
dns: { enable: false }
proxies: [{ name: sink, type: socks5, server: 127.0.0.1, port: ${SOCKS}, udp: true }]
rules: ['MATCH,sink']
`
/** @returns {Contestant} */
const ours = (/** @type {string} */ name, /** @type {boolean} */ gso) => {
  return { name, mtu: 1500, binaries: [process.execPath], config: clash(gso), args: config => [PROXY, '-f', config] }
}
/** @returns {Contestant} */
const singBox = (/** @type {string} */ stack, /** @type {number} */ mtu) => ({
  name: `sing-box ${stack}`,
  mtu,
  binaries: ['sing-box'],
  config: JSON.stringify({
    log: { level: 'error' },
    inbounds: [{ type: 'tun', interface_name: NIC, address: ['10.255.0.1/24'], mtu, auto_route: false, stack }],
    outbounds: [{ type: 'socks', server: '127.0.0.1', server_port: SOCKS }],
  }),
  args: config => ['run', '-c', config],
  version: ['version'],
})
/** @returns {Contestant} */
const hev = (/** @type {number} */ mtu) => ({
  name: 'hev-socks5-tunnel',
  mtu,
  binaries: ['hev-socks5-tunnel'],
  config: `tunnel: { name: ${NIC}, mtu: ${mtu}, ipv4: 10.255.0.1 }
socks5: { address: 127.0.0.1, port: ${SOCKS}, udp: 'udp', pipeline: true }
misc: { log-level: error }
`,
  args: config => [config],
  version: ['--version'],
})

/** @type {Contestant[]} */
export const CONTESTANTS = [
  { name: 'direct', mtu: 65536, binaries: [], args: () => [] }, // loopback: what the harness itself can
  ours('ours', true),
  ours('ours-plain', false),
  singBox('mixed', 65535), // its own defaults
  singBox('gvisor', 1500),
  hev(1500),
  hev(8500), // its own default
  {
    name: 'tun2proxy',
    mtu: 1500,
    binaries: ['tun2proxy-bin', 'tun2proxy'],
    args: () => [...['--tun', NIC, '--proxy', `socks5://127.0.0.1:${SOCKS}`], '--mtu', '1500', '--max-sessions', '65536', '-v', 'error'],
    version: ['--version'],
  },
  {
    name: 'mihomo',
    mtu: 1500,
    binaries: ['mihomo'],
    config: `mode: rule
log-level: error
find-process-mode: 'off'
dns: { enable: false }
tun: { enable: true, device: ${NIC}, stack: gvisor, mtu: 1500, auto-route: false, auto-detect-interface: false, dns-hijack: [] }
proxies: [{ name: sink, type: socks5, server: 127.0.0.1, port: ${SOCKS}, udp: true }]
rules: ['MATCH,sink']
`,
    args: config => ['-d', '.', '-f', config],
    version: ['-v'],
  },
  {
    name: 'tun2socks',
    mtu: 1500,
    binaries: ['tun2socks'],
    args: () => [...['-device', `tun://${NIC}`, '-proxy', `socks5://127.0.0.1:${SOCKS}`], '-mtu', '1500', '-loglevel', 'error'],
    version: ['-version'],
  },
]

/** Those that are here, of those whose name contains one of `only`; and the names of programs that are not. */
export function present(/** @type {string[]} */ only) {
  /** @type {Present[]} */
  const here = []
  /** @type {Set<string>} */
  const missing = new Set()
  for (const one of CONTESTANTS) {
    if (only.length > 0 && !only.some(part => one.name === part || (one.binaries[0] !== process.execPath && one.name.startsWith(part))))
      continue
    const command = one.binaries.map(name => (name.startsWith('/') ? name : findBinary(name))).find(path => path !== undefined)
    if (command === undefined && one.binaries.length > 0) missing.add(one.binaries[0])
    else here.push({ ...one, command })
  }
  return { here, missing: [...missing] }
}

/** What it says of itself, e.g. `sing-box 1.14.1`; undefined for us, whose commit stands above. */
export function versionOf(/** @type {Present} */ { name, command, version }) {
  if (!command || !version) return undefined
  const { stdout, stderr } = spawnSync(command, version, { encoding: 'utf8', timeout: 5000 })
  const [said = 'of unknown version'] = /(?<![\w.])v?\d+(\.\d+)+/.exec(`${stdout}${stderr}`) ?? [] // not that of Go, go1.26
  return `${name.split(' ')[0]} ${said}`
}
