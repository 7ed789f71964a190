// `clash-proxy --user`: root opens the TUN and the ports, somebody else serves them, and does not become root again.

import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { Lab, type Namespace, NOBODY, type Program } from '../../scripts/lab/lab.mjs'
import { APP4, Scene, SERVER4, TUN } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { describeSystem, PROXY } from './requirements.js'

const needs = { lab: true, built: [PROXY], peers: ['setpriv'] }
const SIDE = { host: SERVER4, from: APP4 }
// Nobody's traffic goes into the TUN in a scene: its proxy is somebody else. Without an entry in any passwd file.
const USER = 54321
const GROUP = 54322

/** What the kernel says of each thread: the values of these fields, once. */
function kernelSays(program: Program, field: string): string[] {
  const tasks = `/proc/${program.child.pid}/task`
  const values = readdirSync(tasks).map(
    tid => new RegExp(`^${field}:\\s*(.*?)\\s*$`, 'm').exec(readFileSync(join(tasks, tid, 'status'), 'utf8'))?.[1] ?? '',
  )
  return [...new Set(values)]
}

describeSystem('clash-proxy --user', needs, () => {
  const open = (dns: (directory: string) => string, user = `${USER}:${GROUP}`) =>
    Scene.forThisTest({
      config: 'rules:\n  - MATCH,DIRECT\n',
      program: config => {
        writeFileSync(config, `${readFileSync(config, 'utf8')}${dns(dirname(config))}`)
        return [process.execPath, PROXY, '-f', config, '--user', user]
      },
    })

  it('serves TCP, UDP and DNS with that user’s rights in every thread, and takes its NIC down at the end', async () => {
    let state = ''
    const world = await open(directory => {
      state = join(directory, 'state')
      mkdirSync(state)
      chownSync(state, USER, GROUP)
      return `dns: {enable: true, listen: '127.0.0.1:53', fake-ip-store: ${state}/fake-ip}\n`
    })
    await world.proxy.waitFor(/\[USER\] 54321, uid 54321, gid 54322/)
    expect(kernelSays(world.proxy, 'Uid')).toEqual([Array(4).fill(USER).join('\t')])
    expect(kernelSays(world.proxy, 'Gid')).toEqual([Array(4).fill(GROUP).join('\t')])
    expect(kernelSays(world.proxy, 'Groups')).toEqual([String(GROUP)])
    for (const field of ['CapPrm', 'CapEff', 'CapAmb']) expect(kernelSays(world.proxy, field)).toEqual(['0000000000000000'])

    await world.serve('tcp-server', [SERVER4])
    await world.serve('udp-server', [SERVER4])
    const bytes = 1_000_000
    expect(await world.client('tcp-client', { op: 'upload', bytes, ...SIDE })).toMatchObject({ bytes, sha: patternHash(bytes) })
    expect(await world.client('tcp-client', { op: 'refused', ...SIDE })).toMatchObject({ code: 'ECONNREFUSED' })
    expect(await world.client('udp-client', { op: 'echo', bytes: 10_000, ...SIDE })).toMatchObject({ same: true })
    // The port below 1024 that root opened answers, and the name is kept.
    const ask = `const r = new (require('dns').Resolver)(); r.setServers(['127.0.0.1']); r.resolve4('kept.test', (e, a) => console.log(e?.code ?? a[0]))`
    const asked = await world.apps.run(process.execPath, ['-e', ask])
    expect(asked.stdout.toString()).toMatch(/^198\.18\./)

    world.proxy.kill('SIGTERM')
    expect(await world.proxy.exited).toEqual({ code: 0, signal: null })
    expect(world.apps.hasDevice(TUN)).toBe(false)
    expect(readdirSync(state)).toEqual(['fake-ip']) // its lock is gone
    expect(readFileSync(join(state, 'fake-ip'), 'utf8')).toContain('kept.test')
    expect(statSync(join(state, 'fake-ip'))).toMatchObject({ uid: USER, gid: GROUP })
    expect(world.proxy.lines.filter(line => /level=(warning|error)/.test(line) && !/ECONNREFUSED/.test(line))).toEqual([])
  })

  it('says what it could not write later, and ends: no NIC is left', async () => {
    const { code, stderr, nic } = await ended('dns: {enable: true, listen: "127.0.0.1:5399"}\n', ['--user', '54321:54322'])
    expect([code, nic]).toEqual([1, false])
    const [what, cure] = stderr.split('\n')
    expect(what).toMatch(/^clash-proxy: --user 54321: fake IPs are kept in .*config\.fake-ip, and this user may not write in \S+$/)
    expect(cure).toMatch(/^clash-proxy: sudo install -d -o 54321 -g 54322 \/var\/lib\/clash-proxy, and in the file dns: \{fake-ip-store:/)
  })

  it.each([
    ['an unknown user', 'no-such-user', "there is no user 'no-such-user' (ERR_TUN_USER)"],
    ['root', 'root', "user 'root' is root: nothing would be dropped (ERR_TUN_USER)"],
  ])('refuses %s before anything is opened', async (_, user, message) => {
    const { code, stderr, nic } = await ended('', ['--user', user])
    expect([code, stderr.split('\n')[0], nic]).toEqual([1, `clash-proxy: ${message}`, false])
  })

  it('takes a name: nobody, its group, and no group of root’s', async () => {
    await alone(async (machine, file) => {
      const proxy = machine.start(process.execPath, [PROXY, '-f', file, '--user', 'nobody'])
      await proxy.waitFor(/\[USER\] nobody/)
      expect(kernelSays(proxy, 'Uid')).toEqual([Array(4).fill(NOBODY).join('\t')])
      expect(kernelSays(proxy, 'Groups')).toEqual([String(NOBODY)])
      expect(machine.hasDevice(TUN)).toBe(true)
    })
  })

  it('ends where the kernel was told to leave capabilities alone: a change of the user that is none', async () => {
    await alone(async (machine, file) => {
      const command = ['--securebits=+no_setuid_fixup', '--', process.execPath, PROXY, '-f', file, '--user', 'nobody']
      const { code, stderr } = await machine.run('setpriv', command, { timeout: 20_000 })
      expect(code).toBe(1)
      expect(stderr).toMatch(/^clash-proxy: this process has not become nobody for good: CapPrm of a thread is 0*1\w+ \(ERR_TUN_USER\)$/)
      expect(machine.hasDevice(TUN)).toBe(false)
    })
  })

  it('who is not root cannot become another, and need not become himself', async () => {
    await alone(async (machine, file) => {
      machine.ip('tuntap', 'add', 'dev', TUN, 'mode', 'tun', 'user', String(NOBODY))
      const node = 'mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200 && exec "$@"'
      const become = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--']
      const run = (user: string) =>
        machine.start('unshare', ['-m', 'sh', '-c', node, 'sh', ...become, process.execPath, PROXY, '-f', file, '--user', user])
      const other = await run('daemon').finish(20_000, undefined)
      expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('clash-proxy: only root can become daemon (ERR_TUN_USER)') })
      await run('nobody').waitFor(/\[USER\] nobody/)
    })
  })
})

/** In a namespace with nothing but the proxy. */
async function alone(body: (machine: Namespace, file: string) => Promise<void>, config = ''): Promise<void> {
  const lab = new Lab()
  try {
    chmodSync(lab.directory, 0o755)
    const file = join(lab.directory, 'config.yaml')
    writeFileSync(file, `tun:\n  enable: true\n  device-url: dev://${TUN}\n${config}`)
    await body(lab.namespace('machine'), file)
  } finally {
    lab.close()
  }
}

/** How it ended, started as root. */
async function ended(config: string, args: string[]): Promise<{ code: number | null; stderr: string; nic: boolean }> {
  let result = { code: null as number | null, stderr: '', nic: false }
  await alone(async (machine, file) => {
    const { code, stderr } = await machine.run(process.execPath, [PROXY, '-f', file, ...args], { timeout: 20_000 })
    result = { code, stderr, nic: machine.hasDevice(TUN) }
  }, config)
  return result
}
