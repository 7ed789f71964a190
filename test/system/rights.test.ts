// Who may have which NIC: the example proxy as root, with CAP_NET_ADMIN alone, as the NIC's owner, as nobody in particular. What comes of
// it, the exit code and every word are golden: golden/rights.txt. `npx vitest run --project system rights -u` writes it anew.

import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Lab, type Namespace } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { programPath } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { anywhere, asUser, OWNER, STRANGER } from './unprivileged.js'

const TUN = 'tun0'
const SOMEBODY = 65532

type As = (command: readonly string[]) => string[]
interface Case {
  url: string
  prepare?: (namespace: Namespace) => void | Promise<void>
  /** What runs the proxy, if not the one that is asked for. */
  wrap?: (command: readonly string[]) => string[]
}

const persistent = (owner: number, up: boolean) => (namespace: Namespace) => {
  namespace.ip('tuntap', 'add', 'dev', TUN, 'mode', 'tun', 'user', String(owner))
  if (up) namespace.ip('link', 'set', TUN, 'up')
}

async function busy(namespace: Namespace): Promise<void> {
  persistent(OWNER, true)(namespace)
  const hold = `import fcntl, struct, time
f = open('/dev/net/tun', 'r+b', buffering=0)
fcntl.ioctl(f, 0x400454ca, struct.pack('16sH22x', b'${TUN}', 0x1001))
print('held', flush=True)
time.sleep(600)`
  await namespace.start('python3', ['-c', hold]).waitFor(/^held/)
}

const NICS: Record<string, Case> = {
  'a new NIC': { url: `dev://${TUN}` },
  'a new NIC, any number': { url: 'dev://new%d' },
  'a persistent NIC of the owner': { url: `dev://${TUN}`, prepare: persistent(OWNER, true) },
  'a persistent NIC of somebody else': { url: `dev://${TUN}`, prepare: persistent(SOMEBODY, true) },
  'a NIC that is in use': { url: `dev://${TUN}`, prepare: busy },
  "the owner's NIC, down": { url: `dev://${TUN}`, prepare: persistent(OWNER, false) },
  'a descriptor, opened by root': { url: 'fd://9', wrap: command => ['python3', programPath('pass-fd.py'), TUN, ...command] },
  'a descriptor that is not open': { url: 'fd://99' },
}

describeSystem('who may have which NIC', { lab: true, built: [PROXY], peers: ['setpriv', 'setcap', 'python3'] }, () => {
  it('is as the table says', { timeout: 240_000 }, async () => {
    const lab = new Lab()
    try {
      chmodSync(lab.directory, 0o711)
      const capable = copyOfNode(lab.directory)
      const people: Record<string, { node: string; as: As }> = {
        root: { node: process.execPath, as: command => anywhere(lab.directory, command) },
        'CAP_NET_ADMIN alone': { node: capable, as: command => asUser(STRANGER, lab.directory, command) },
        'the owner, nothing else': { node: process.execPath, as: command => asUser(OWNER, lab.directory, command) },
        nobody: { node: process.execPath, as: command => asUser(STRANGER, lab.directory, command) },
      }
      const table: string[] = []
      let number = 0
      for (const [nic, { url, prepare, wrap = (command: readonly string[]) => [...command] }] of Object.entries(NICS)) {
        table.push(nic)
        const config = join(lab.directory, `${++number}.yaml`)
        writeFileSync(config, `tun:\n  enable: true\n  device-url: ${url}\nrules:\n  - MATCH,DIRECT\n`)
        chmodSync(config, 0o644)
        const rows = Object.entries(people).map(async ([who, { node, as }], i) => {
          const namespace = lab.namespace(`n${number}-${i}`)
          await prepare?.(namespace)
          const proxy = [node, 'examples/clash-proxy/bin/clash-proxy.js', '-f', config]
          // The descriptor is opened as root, and outlives the loss of all rights.
          const said = await outcome(namespace, wrap(as(proxy)))
          const left = namespace.hasDevice(TUN) ? ' The NIC is there afterwards.' : ''
          return [`  ${who}: ${said.code}.${left}`, ...said.lines.map(line => `    ${line.replaceAll(config, 'config.yaml')}`)]
        })
        table.push(...(await Promise.all(rows)).flat())
        table.push('')
      }
      await expect(table.join('\n')).toMatchFileSnapshot('golden/rights.txt')
    } finally {
      lab.close()
    }
  })
})

/** As README says it is done, on a copy: the machine's own node stays as it is. */
function copyOfNode(directory: string): string {
  const copy = join(directory, 'node')
  copyFileSync(realpathSync(process.execPath), copy)
  chmodSync(copy, 0o755)
  execFileSync(findBinary('setcap')!, ['cap_net_admin+ep', copy])
  expect(execFileSync(findBinary('getcap')!, [copy]).toString()).toMatch(/ cap_net_admin=ep\n$/)
  return copy
}

/** Runs it until it serves, then ends it; or until it ends by itself. */
async function outcome(namespace: Namespace, command: string[]): Promise<{ code: string; lines: string[] }> {
  const program = namespace.start(command[0], command.slice(1))
  const serves = await program.waitFor(/\[TUN\]/).then(
    () => true,
    () => false,
  )
  if (serves) program.kill('SIGTERM')
  const { code } = await program.exited
  const lines = program.lines
    .map(line => /level=(\w+) msg=(".*")$/.exec(line))
    .flatMap((m, i) => (m ? `${m[1]}: ${JSON.parse(m[2])}` : program.lines[i]))
  return { code: serves ? `serves, exit code ${code}` : `exit code ${code}`, lines }
}
