// `npm run try`: from a clean clone to a page fetched through a TUN, the stack and the example proxy, in a network of its own.
//
//   node scripts/try.mjs          builds what is missing, fetches, takes everything down; exit code 1 if a step failed
//   node scripts/try.mjs --keep   leaves the network up until Ctrl-C, for playing (root)
//   node scripts/try.mjs [OPTIONS] COMMAND…   builds what is missing and runs COMMAND with `tun exec`, in the network that there is
//
// As root: namespaces with names, the example proxy in one of them. As anybody else: `tun exec`, see lab/rootless.mjs.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Lab, NOBODY, until } from './lab/lab.mjs'
import { asOwner, isInstalled, isRoot, nativeIsBuilt, obstacles } from './lab/prerequisites.mjs'
import { bold, dim, duration, green, line, red } from './lab/report.mjs'
import { findBinary } from './peers.mjs'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const PROXY = 'examples/clash-proxy/bin/clash-proxy.js'
const CLI = 'packages/cli/bin/tun.js'
const TUN = 'tuntry0'
const APP_TABLE = '100'

// The addresses of documentation, benchmarks and private use: RFC 5737, 3849, 2544, 4193.
const WEB4 = '203.0.113.10'
const WEB6 = '2001:db8:1::10'
const DNS = '203.0.113.53'
const UPLINK4 = '10.86.0.2'
const UPLINK6 = 'fd00:86::2'
const FAKE_IPS = '198.18.0.1/16'
const BIG_BYTES = 10_000_000

let failed = false
/** @type {Lab | undefined} */
let lab
/** @type {import('./lab/lab.mjs').Program | undefined} */
let proxy

for (const [signal, number] of /** @type {[NodeJS.Signals, number][]} */ ([
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
])) {
  process.on(signal, () => process.exit(128 + number)) // the lab goes down on exit
}

process.stdout.on('error', () => process.exit(1)) // `npm run try | head` has seen enough

const command = process.argv.slice(2)
const keep = command[0] === '--keep' // behind another word it is the command's own
if (keep) command.shift()
if (command.length > 0) process.exit(await runCommand())

try {
  await main()
} catch (error) {
  fail('stopped', error instanceof Error ? error.message : String(error))
} finally {
  if (failed && proxy) console.log(`\n${bold('The end of the proxy’s log:')}\n${dim(proxy.tail() || '(it said nothing)')}`)
  lab?.close()
}
console.log(failed ? `\n${red('Something above did not work.')}` : `\n${green('Everything worked')}, and everything was taken down again.`)
process.exitCode = failed ? 1 : 0

/** `npm run try -- COMMAND…`: its words are tun's, its end is ours. */
async function runCommand() {
  const missing = obstacles(ROOT)
  for (const obstacle of missing) fail('tools', obstacle)
  if (missing.length > 0 || !(await install())) return 125
  console.log()
  const child = spawn(process.execPath, [join(ROOT, CLI), 'exec', ...command], { stdio: 'inherit' })
  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.removeAllListeners(signal)
    process.on(signal, () => signal !== 'SIGINT' && child.kill(signal)) // Ctrl-C reaches it by itself
  }
  return new Promise(resolve => child.on('close', code => resolve(code ?? 125)))
}

/** The same pages as for root, from within a user namespace of this user's. Its lines are printed by itself. */
function runRootless() {
  const within = ['--user', '--map-root-user', '--net', '--mount', '--', process.execPath, join(ROOT, 'scripts/lab/rootless.mjs')]
  const child = spawn('unshare', within, { stdio: 'inherit' })
  process.once('exit', () => child.kill()) // its own network goes with it
  return new Promise(resolve => {
    child.on('error', error => resolve(fail('unshare', error.message)))
    child.on('close', code => resolve(code === 0))
  })
}

async function main() {
  console.log(`\n${bold('tun-inbound')}: IP packets go into a TUN, come out as streams, and a proxy relays them.\n`)
  const missing = obstacles(ROOT)
  for (const obstacle of missing) fail('tools', obstacle)
  if (missing.length > 0) return
  line(green('✓'), 'tools', `node ${process.versions.node}, ip, curl, /dev/net/tun, ${isRoot() ? 'root' : 'user namespaces (not root)'}`)

  if (!(await install())) return
  if (!isRoot()) {
    failed = !(await runRootless())
    return
  }
  if (!existsSync(join(ROOT, PROXY))) return fail('proxy', `${PROXY} is missing: is this clone complete?`)

  const { laptop } = await makeNetwork()
  if (!(await startProxy(laptop))) return

  await fetchPage(laptop, 'IPv4', `http://${WEB4}/`)
  await fetchPage(laptop, 'IPv6', `http://[${WEB6}]/`)
  await fetchPage(laptop, 'name', 'http://web.test/')
  await fetchBig(laptop)
  await fetchClosed(laptop)

  if (keep) {
    console.log(`\nThe network stays until Ctrl-C. An application in it (root bypasses the TUN, every other user goes into it):`)
    console.log(`  sudo ip netns exec ${laptop.name} setpriv --reuid=${NOBODY} --clear-groups curl http://web.test/`)
    await proxy?.exited
    fail('proxy', 'ended')
  }
}

async function install() {
  if (isInstalled(ROOT)) line(green('✓'), 'npm ci', 'installed before')
  else if (!(await step('npm ci', 'npm', ['ci', '--foreground-scripts=false', '--loglevel=error']))) return false
  if (!nativeIsBuilt(ROOT) && !(await step('addon', 'npm', ['run', 'install', '--workspace=native', '--silent']))) return false
  return step('build', join(ROOT, 'node_modules/.bin/turbo'), ['run', 'build', '--output-logs=errors-only'])
}

/** Runs a command of the build quietly, and shows what it said only if it failed. */
function step(/** @type {string} */ name, /** @type {string} */ command, /** @type {string[]} */ args) {
  const { prefix, env } = asOwner(ROOT)
  const [program, ...rest] = [...prefix, command, ...args]
  const start = performance.now()
  const child = spawn(program, rest, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const end = () => child.kill()
  process.once('exit', end)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (output += data))
  return new Promise(resolve => {
    child.on('error', error => resolve(fail(name, error.message)))
    child.on('close', code => {
      process.removeListener('exit', end)
      if (code !== 0) return resolve(fail(name, `${command} ${args.join(' ')} ended with ${code}`, output.trim().split('\n').slice(-30)))
      line(green('✓'), name, duration(performance.now() - start))
      resolve(true)
    })
  })
}

async function makeNetwork() {
  lab = new Lab()
  const laptop = lab.namespace('laptop', { resolver: DNS })
  const internet = lab.namespace('internet')
  lab.wire(laptop, [`${UPLINK4}/24`, `${UPLINK6}/64`], internet, ['10.86.0.1/24', 'fd00:86::1/64'])
  laptop.ip('route', 'add', 'default', 'via', '10.86.0.1')
  laptop.ip('-6', 'route', 'add', 'default', 'via', 'fd00:86::1')
  for (const address of [`${WEB4}/32`, `${DNS}/32`, `${WEB6}/128`]) internet.address(address, 'lo')

  const here = join(ROOT, 'scripts/lab')
  const names = internet.start(process.execPath, [join(here, 'dns-server.mjs'), DNS, `web.test=${WEB4},${WEB6}`])
  await names.waitFor(/listening/)
  const server = await startWebServer(internet)
  line(green('✓'), 'network', `two namespaces: laptop ──wire── internet (${server} at ${WEB4} and ${WEB6}, DNS at ${DNS})`)
  return { laptop, internet }
}

async function startWebServer(/** @type {import('./lab/lab.mjs').Namespace} */ internet) {
  const directory = /** @type {Lab} */ (lab).directory
  const www = join(directory, 'www')
  mkdirSync(www)
  writeFileSync(join(www, 'big'), randomBytes(BIG_BYTES))
  const nginx = findBinary('nginx')
  if (!nginx) {
    const args = [join(ROOT, 'scripts/lab/web-server.mjs'), www, WEB4, WEB6]
    const server = internet.start(process.execPath, args)
    await server.waitFor(new RegExp(`listening on ${WEB6}`))
    return 'Node’s http server'
  }
  chmodSync(directory, 0o755) // nginx's workers are another user
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${directory}/${kind};`)
  const conf = `daemon off; pid ${directory}/nginx.pid; error_log stderr; worker_processes 1; events {}
http { access_log off; default_type text/plain; ${temporary.join(' ')}
  server { listen ${WEB4}:80; listen [${WEB6}]:80; root ${www};
    location = / { return 200 "Hello from nginx. You come from $remote_addr.\\n"; } } }\n`
  writeFileSync(join(directory, 'nginx.conf'), conf)
  const server = internet.start(nginx, ['-p', directory, '-c', join(directory, 'nginx.conf')])
  await Promise.race([internet.listening(80), server.exited.then(() => Promise.reject(new Error(`nginx ended:\n${server.tail()}`)))])
  return 'nginx'
}

async function startProxy(/** @type {import('./lab/lab.mjs').Namespace} */ laptop) {
  const config = join(/** @type {Lab} */ (lab).directory, 'config.yaml')
  writeFileSync(
    config,
    `tun:
  enable: true
  device-url: dev://${TUN}
  dns-listen: 0.0.0.0:53
dns:
  enable: true
  enhanced-mode: fake-ip
  fake-ip-range: ${FAKE_IPS}
  nameserver:
    - ${DNS}
rules:
  - MATCH,DIRECT
`,
  )
  const start = performance.now()
  proxy = laptop.start(process.execPath, [join(ROOT, PROXY), '-f', config])
  try {
    await until(`the proxy to make ${TUN}`, 15_000, () => {
      if (!proxy?.running) throw new Error('the proxy ended before it made its TUN')
      return laptop.hasDevice(TUN)
    })
  } catch (error) {
    return fail('proxy', /** @type {Error} */ (error).message)
  }
  laptop.address('198.18.0.1/30', TUN)
  laptop.address('fd00:198:18::1/126', TUN)
  laptop.ip('link', 'set', TUN, 'up')
  // Why the proxy's own connections do not come back to it: routes into the TUN stand in a table of their own, and a rule sends
  // only the applications' user there. Applications run as `nobody`, the proxy as root, so what it dials leaves by the wire.
  for (const family of ['-4', '-6']) {
    laptop.ip(family, 'route', 'add', 'default', 'dev', TUN, 'table', APP_TABLE)
    laptop.ip(family, 'rule', 'add', 'pref', '100', 'uidrange', `${NOBODY}-${NOBODY}`, 'lookup', APP_TABLE)
  }
  // Loose: the kernel asks root's route when it checks where an answer came from, and that one is the wire.
  laptop.sysctl(`net.ipv4.conf.${TUN}.rp_filter`, 2)
  line(green('✓'), 'proxy', `${PROXY} runs and made ${TUN} (${duration(performance.now() - start)})`, [
    `applications (user nobody) ─► ${TUN} ─► stack ─► DIRECT ─► wire ─► internet`,
  ])
  return true
}

/** curl as an application: user nobody, so its packets go into the TUN. */
async function curl(/** @type {import('./lab/lab.mjs').Namespace} */ laptop, /** @type {string} */ url) {
  const before = laptop.packets(TUN)
  const report = '%{stderr}%{http_code} %{time_namelookup} %{time_connect} %{time_total} %{remote_ip}'
  const args = ['-q', '-sS', '--noproxy', '*', '--max-time', '20', '-w', report, url]
  const done = await laptop.run('curl', args, { nobody: true, timeout: 30_000 })
  const after = laptop.packets(TUN)
  const words = done.stderr.trim().split('\n')
  const [status, lookup, connect, total, remote] = (words.at(-1) ?? '').split(' ')
  return {
    code: done.code,
    body: done.stdout,
    complaint: words.find(w => w.startsWith('curl:')) ?? `curl ended with ${done.code ?? done.signal}`,
    status,
    lookupMs: Number(lookup) * 1000,
    connectMs: (Number(connect) - Number(lookup)) * 1000,
    totalMs: Number(total) * 1000,
    remote,
    packets: after.sent - before.sent + after.received - before.received,
  }
}

async function fetchPage(/** @type {import('./lab/lab.mjs').Namespace} */ laptop, /** @type {string} */ name, /** @type {string} */ url) {
  const got = await curl(laptop, url)
  const text = got.body.toString().trim()
  if (got.code !== 0 || got.status !== '200') return fail(name, `curl ${url}: ${got.code === 0 ? `status ${got.status}` : got.complaint}`)
  if (got.packets === 0) return fail(name, `curl ${url} came back, but not a packet went through ${TUN}`)
  if (!text.includes(UPLINK4) && !text.includes(UPLINK6)) return fail(name, `the server saw somebody else: ${text}`)
  const details = [`${got.packets} packets through ${TUN}; connected in ${duration(got.connectMs)}; the server: “${text}”`]
  if (name === 'name') {
    if (got.remote === WEB4 || got.remote === WEB6) return fail(name, `web.test is ${got.remote}: not a fake IP`)
    details.unshift(`DNS on the TUN said that web.test is ${got.remote}, a fake IP; the proxy knows the name and looked it up itself`)
  }
  line(green('✓'), name, `curl ${url}  ${got.status} in ${duration(got.totalMs)}`, details)
  return true
}

async function fetchBig(/** @type {import('./lab/lab.mjs').Namespace} */ laptop) {
  const url = `http://${WEB4}/big`
  const got = await curl(laptop, url)
  if (got.code !== 0) return fail('10 MB', `curl ${url}: ${got.complaint}`)
  const sha = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex')
  const expected = sha(readFileSync(join(/** @type {Lab} */ (lab).directory, 'www/big')))
  if (sha(got.body) !== expected) return fail('10 MB', `curl ${url}: ${got.body.length} bytes came, and not the right ones`)
  const speed = `${Math.round(BIG_BYTES / 1000 / got.totalMs)} MB/s`
  line(green('✓'), '10 MB', `curl ${url}  ${duration(got.totalMs)}, ${speed}, SHA-256 right`)
  return true
}

async function fetchClosed(/** @type {import('./lab/lab.mjs').Namespace} */ laptop) {
  const url = `http://${WEB4}:81/`
  const got = await curl(laptop, url)
  const REFUSED = 7 // curl(1): failed to connect to host
  if (got.code !== REFUSED)
    return fail('closed port', `curl ${url} should have been refused: ${got.code === 0 ? 'it connected' : got.complaint}`)
  if (got.totalMs > 3000) return fail('closed port', `curl ${url} was refused only after ${duration(got.totalMs)}`)
  line(green('✓'), 'closed port', `curl ${url}  refused in ${duration(got.totalMs)}`, [
    'the SYN was answered only when the proxy knew: the application sees the truth',
  ])
  return true
}

/** @returns {false} */
function fail(/** @type {string} */ name, /** @type {string} */ text, /** @type {string[]} */ details = []) {
  failed = true
  line(red('✗'), name, text, details)
  return false
}
