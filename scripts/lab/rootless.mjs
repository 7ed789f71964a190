// `npm run try` for all but root, run by try.mjs in a user, network and mount namespace of that user: the Internet is this
// namespace's loopback, each page is fetched by `tun exec`, which makes another network, with a TUN, for curl alone.

import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ip, Program } from './lab.mjs'
import { duration, green, line, red } from './report.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
const CLI = join(HERE, '../../packages/cli/bin/tun.js')

// RFC 5737, RFC 3849.
const WEB4 = '203.0.113.10'
const WEB6 = '2001:db8:1::10'
const DNS = '203.0.113.53'
const BIG_BYTES = 10_000_000
const REFUSED = 7 // curl(1): failed to connect to host

const directory = mkdtempSync(join(tmpdir(), 'tun-try-'))
/** @type {Program[]} */
const programs = []
process.on('exit', () => {
  for (const program of programs) program.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})
for (const [signal, number] of /** @type {[NodeJS.Signals, number][]} */ ([
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
])) {
  process.on(signal, () => process.exit(128 + number))
}

let failed = false
try {
  await makeInternet()
  await fetchPage('IPv4', `http://${WEB4}/`)
  await fetchPage('IPv6', `http://[${WEB6}]/`)
  await fetchPage('name', 'http://web.test/')
  await fetchBig()
  await fetchClosed()
} catch (error) {
  fail('stopped', error instanceof Error ? error.message : String(error))
}
process.exit(failed ? 1 : 0)

async function makeInternet() {
  ip('link', 'set', 'lo', 'up')
  for (const address of [`${WEB4}/32`, `${DNS}/32`]) ip('address', 'add', address, 'dev', 'lo')
  ip('address', 'add', `${WEB6}/128`, 'dev', 'lo', 'nodad')
  const resolver = join(directory, 'resolv.conf')
  writeFileSync(resolver, `nameserver ${DNS}\n`)
  const bound = spawnSync('mount', ['--bind', resolver, '/etc/resolv.conf'], { encoding: 'utf8' })
  if (bound.status !== 0) throw new Error(bound.stderr.trim())
  writeFileSync(join(directory, 'big'), randomBytes(BIG_BYTES))
  const names = start('dns-server.mjs', [DNS, `web.test=${WEB4},${WEB6}`])
  const web = start('web-server.mjs', [directory, WEB4, WEB6])
  await names.waitFor(/listening/)
  await web.waitFor(new RegExp(`listening on ${WEB6}`))
  line(green('✓'), 'network', `a namespace of your own: Node’s http server at ${WEB4} and ${WEB6}, DNS at ${DNS}`, [
    'curl in a network of its own ─► tun0 ─► stack ─► tun exec, DIRECT ─► server',
  ])
}

function start(/** @type {string} */ name, /** @type {string[]} */ args) {
  const program = new Program(name, spawn(process.execPath, [join(HERE, name), ...args]))
  programs.push(program)
  return program
}

/** curl within `tun exec`. */
async function curl(/** @type {string} */ url) {
  const report = '%{stderr}%{http_code} %{time_connect} %{time_total} %{remote_ip}'
  const args = [CLI, 'exec', '--', 'curl', '-q', '-sS', '--noproxy', '*', '--max-time', '20', '-w', report, url]
  const program = new Program('curl', spawn(process.execPath, args))
  programs.push(program)
  const { code, stdout, stderr } = await program.finish(30_000, undefined)
  const words = stderr.trim().split('\n')
  const [status, connect, total, remote] = (words.at(-1) ?? '').split(' ')
  const complaint = words.find(word => /^(curl|tun):/.test(word)) ?? `curl ended with ${code}`
  return { code, body: stdout, complaint, status, connectMs: Number(connect) * 1000, totalMs: Number(total) * 1000, remote }
}

async function fetchPage(/** @type {string} */ name, /** @type {string} */ url) {
  const got = await curl(url)
  if (got.code !== 0 || got.status !== '200') return fail(name, `curl ${url}: ${got.code === 0 ? `status ${got.status}` : got.complaint}`)
  const details = [`connected in ${duration(got.connectMs)}; the server: “${got.body.toString().trim()}”`]
  if (name === 'name') {
    if (got.remote === WEB4 || got.remote === WEB6) return fail(name, `web.test is ${got.remote}: not a fake IP`)
    details.unshift(`DNS on the TUN said that web.test is ${got.remote}, a fake IP; outside, the name was looked up`)
  }
  line(green('✓'), name, `tun exec -- curl ${url}  ${got.status} in ${duration(got.totalMs)}`, details)
}

async function fetchBig() {
  const url = `http://${WEB4}/big`
  const [got, right] = [await curl(url), await plain(url)]
  if (got.code !== 0) return fail('10 MB', `curl ${url}: ${got.complaint}`)
  const sha = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex')
  if (sha(got.body) !== sha(right)) return fail('10 MB', `curl ${url}: ${got.body.length} bytes came, and not the right ones`)
  const speed = `${Math.round(BIG_BYTES / 1000 / got.totalMs)} MB/s`
  line(green('✓'), '10 MB', `tun exec -- curl ${url}  ${duration(got.totalMs)}, ${speed}, SHA-256 right`)
}

/** What the server says to somebody without a TUN. */
async function plain(/** @type {string} */ url) {
  return Buffer.from(await (await fetch(url)).arrayBuffer())
}

async function fetchClosed() {
  const url = `http://${WEB4}:81/`
  const got = await curl(url)
  if (got.code !== REFUSED) return fail('closed port', `curl ${url} should have been refused: ${got.complaint}`)
  line(green('✓'), 'closed port', `tun exec -- curl ${url}  refused in ${duration(got.totalMs)}`)
}

function fail(/** @type {string} */ name, /** @type {string} */ text) {
  failed = true
  line(red('✗'), name, text)
}
