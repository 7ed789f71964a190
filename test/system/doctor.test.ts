// `tun doctor` in real surroundings: as root, as nobody, without what a TUN needs, beside a NIC that is busy or left over. And that it
// leaves everything as it was.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, type Namespace, NOBODY } from '../../scripts/lab/lab.mjs'
import { describeSystem, PROXY, ROOT } from './requirements.js'

const TUN = join(ROOT, 'packages/cli/bin/tun.js')
const needs = { lab: true, peers: ['setpriv', 'python3'], built: [TUN, join(ROOT, 'packages/cli/dist/main.js'), PROXY] }

interface Check {
  id: string
  status: string
  found: string
  fix?: string
}

interface Report {
  code: number | null
  version: number
  ok: boolean
  counts: Record<string, number>
  of(id: string): Check | undefined
}

interface Around {
  nobody?: boolean
  /** Mode of /dev/net/tun; undefined: there is none. */
  node?: string
  /** Words before the user is changed. */
  within?: string[]
  args?: string[]
}

describeSystem('tun doctor', needs, () => {
  let lab: Lab
  let machine: Namespace
  beforeAll(() => {
    lab = new Lab()
    machine = lab.namespace('machine', { resolver: '192.0.2.53' })
  })
  afterAll(() => lab?.close())

  async function doctor({ nobody = false, node = '0666', within = [], args = [] }: Around = {}): Promise<Report> {
    const make = node === 'none' ? 'true' : `mknod -m ${node} /dev/net/tun c 10 200`
    // What other runs left on this machine, in /var/lib/tun, is not looked at.
    const script = `mount -t tmpfs none /dev/net && mount -t tmpfs none /var/lib && ${make} && cd / && exec "$@"`
    const become = nobody ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : []
    const command = ['-m', 'sh', '-c', script, 'sh', ...within, ...become, process.execPath, TUN, 'doctor', '--json', ...args]
    const done = await machine.run('unshare', command, { env: { HOME: '/nonexistent' } })
    expect(done.stderr).toBe('')
    const report = JSON.parse(done.stdout.toString())
    return { ...report, code: done.code, of: id => report.checks.find((check: Check) => check.id === id) }
  }

  it('finds this machine fit, for root and for nobody, and says what only root may', async () => {
    for (const nobody of [false, true]) {
      const report = await doctor({ nobody })
      expect([report.code, report.ok, report.version]).toEqual([0, true, 1])
      for (const id of ['device-node', 'isolation', 'node', 'addon', 'system']) expect(report.of(id)).toMatchObject({ status: 'ok' })
      expect(report.of('offload')?.found).toMatch(/^checksums, TSO4, TSO6/)
      expect(report.of('capabilities')).toMatchObject({ status: nobody ? 'warn' : 'ok' })
      expect(report.of('resolver')).toMatchObject({ status: 'ok', found: expect.stringContaining('192.0.2.53') })
    }
  })

  it('for people: a line each, the cure below, and the outcome', async () => {
    const done = await machine.run(process.execPath, [TUN, 'doctor'])
    const lines = done.stdout.toString().trimEnd().split('\n')
    expect(lines[0]).toMatch(/^ok {7}system {12}Linux \d/)
    expect(lines.at(-1)).toMatch(/^(\d+ \w+, )*\d+ ok(: tun can work here)?$/)
  })

  it.each<[string, Around, string, string]>([
    ['no device node', { nobody: true, node: 'none' }, 'device-node', 'sudo modprobe tun'],
    ['a device node for root only', { nobody: true, node: '0600' }, 'device-node', 'sudo chmod 0666 /dev/net/tun'],
  ])('%s: fails with the cure, isolation too, and offloads are unknown', async (_, around, id, fix) => {
    const report = await doctor(around)
    expect([report.code, report.ok]).toEqual([1, false])
    expect(report.of(id)).toMatchObject({ status: 'fail', fix: expect.stringContaining(fix) })
    expect(report.of('isolation')).toMatchObject({ status: 'fail', fix: expect.stringContaining(fix) })
    expect(report.of('offload')).toMatchObject({ status: 'unknown' })
  })

  it('user namespaces switched off, and no rights: names the switch', async () => {
    // The switch belongs to a user namespace: this one is the test's. Its root has no capabilities, so it would need one of its own.
    const within = ['unshare', '-Ur', 'sh', '-c', 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', 'sh']
    const report = await doctor({ within: [...within, 'setpriv', '--bounding-set=-all', '--'] })
    expect(report.code).toBe(1)
    for (const id of ['user-namespaces', 'isolation'])
      expect(report.of(id)).toMatchObject({ status: 'fail', fix: 'sudo sysctl -w user.max_user_namespaces=15000' })
  })

  it('tells how the network is set up, with the command that changes it, and that command does', async () => {
    const set = (rp: number, v6: number) => {
      machine.sysctl('net.ipv4.conf.all.rp_filter', rp)
      machine.sysctl('net.ipv6.conf.default.disable_ipv6', v6)
    }
    set(1, 1)
    try {
      const report = await doctor()
      expect(report.code).toBe(0)
      for (const id of ['rp-filter', 'ipv6']) {
        const check = report.of(id)
        expect(check?.status).toBe('warn')
        const fixed = await machine.run('sh', ['-c', (check?.fix ?? '').replace(/^sudo /, '')])
        expect(fixed).toMatchObject({ code: 0 })
      }
      const after = await doctor()
      expect([after.of('rp-filter')?.status, after.of('ipv6')?.status]).toEqual(['ok', 'ok'])
    } finally {
      set(0, 0)
    }
  })

  describe('with NICs', () => {
    const file = () => join(lab.directory, 'config.yaml')
    it('a NIC that is kept and served by nobody is a leftover; served, it is busy, and by whom is told', async () => {
      writeFileSync(file(), 'tun:\n  enable: true\n  device-url: dev://tun7\ndns:\n  enable: true\n  listen: 127.0.0.1:5399\n')
      machine.ip('tuntap', 'add', 'dev', 'tun7', 'mode', 'tun', 'user', String(NOBODY))
      machine.ip('link', 'set', 'tun7', 'up')
      const args = ['--config', file()]
      const free = await doctor({ args })
      expect(free.of('nics')).toMatchObject({ status: 'warn', fix: expect.stringContaining('sudo ip link delete tun7') })
      expect(free.of('device')).toMatchObject({ status: 'ok', found: 'tun7 is there, and free' })
      expect(free.of('dns-listen')).toMatchObject({ status: 'ok' })

      const proxy = machine.start(process.execPath, [PROXY, '-f', file()])
      await proxy.waitFor(/\[TUN\]/)
      const busy = await doctor({ args })
      expect(busy.code).toBe(1)
      const pid = proxy.child.pid
      expect(busy.of('device')).toMatchObject({ status: 'fail', found: expect.stringContaining(`(pid ${pid})`), fix: `kill ${pid}` })
      expect(busy.of('nics')).toMatchObject({ status: 'ok', found: expect.stringContaining(`(pid ${pid})`) })
      expect(busy.of('dns-listen')).toMatchObject({ status: 'warn', found: expect.stringContaining('in use') })
      expect(busy.of('locks')).toMatchObject({ status: 'ok', found: expect.stringContaining(`(pid ${pid})`) })

      proxy.kill('SIGKILL')
      await proxy.exited
      const after = await doctor({ args })
      expect(after.of('device')).toMatchObject({ status: 'ok' })
      const locks = after.of('locks')
      expect(locks).toMatchObject({ status: 'warn', found: expect.stringContaining('config.fake-ip.lock') })
      expect((await machine.run('sh', ['-c', locks?.fix ?? 'false'])).code).toBe(0)
      machine.ip('link', 'del', 'tun7')
      expect((await doctor({ args })).of('locks')).toMatchObject({ status: 'ok' })
      expect((await doctor({ args, nobody: true })).of('config')).toMatchObject({ status: 'fail' }) // the directory is root's
      rmSync(file())
    })

    it('another user’s NIC, a TAP, and a plain NIC of that name are told apart', async () => {
      const expected = async (make: string[], found: string) => {
        machine.ip(...make)
        const path = '/tmp/tun-doctor.yaml'
        writeFileSync(path, 'tun:\n  enable: true\n  device-url: dev://tun8\n')
        const { code, of } = await doctor({ nobody: true, args: ['--config', path] })
        expect([code, of('device')]).toEqual([1, expect.objectContaining({ status: 'fail', found: expect.stringContaining(found) })])
        machine.ip('link', 'del', 'tun8')
        rmSync(path)
      }
      await expected(['tuntap', 'add', 'dev', 'tun8', 'mode', 'tun', 'user', '1'], 'belongs to user 1')
      await expected(['tuntap', 'add', 'dev', 'tun8', 'mode', 'tap'], 'is a TAP')
      await expected(['link', 'add', 'tun8', 'type', 'veth', 'peer', 'name', 'peer8'], 'is not a TUN')
    })
  })

  it('changes nothing: NICs, addresses, routes, rules, namespaces, mounts, settings and files are what they were', async () => {
    const settings = "find /proc/sys/net /proc/sys/user -type f 2>/dev/null | sort | xargs grep -sH '' | grep -v nf_conntrack_count"
    const state = async () => {
      const seen = [machine.ip('-o', 'link'), machine.ip('-o', 'address'), machine.ip('rule')]
      for (const family of ['-4', '-6']) seen.push(machine.ip(family, 'route', 'show', 'table', 'all'))
      seen.push(
        (
          await machine.run('sh', [
            '-c',
            `${settings}; ls -l /dev/net /etc/resolv.conf /etc/nsswitch.conf 2>&1; ls /run/netns | grep tunlab-${process.pid}`,
          ])
        ).stdout.toString(),
      )
      // Others on this machine make namespaces meanwhile.
      seen.push(readFileSync('/proc/mounts', 'utf8').replaceAll(/^.*\/run\/netns.*\n/gm, ''))
      // Addresses have lifetimes and routes hints of age: not ours to change, and not looked at.
      return seen.join('\n').replaceAll(/(valid_lft|preferred_lft|expires|age) \w+/g, '')
    }
    const before = await state()
    await doctor()
    await doctor({ nobody: true })
    expect(await state()).toBe(before)
  })
})
