// `tun exec` as people use it: as root and as an ordinary user, with real programs.

import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NOBODY, until } from '../../../scripts/lab/lab.mjs'
import { describeSystem, lacking, ROOT } from '../../../test/system/requirements.js'
import {
  ACCOUNT,
  HTTP_PROXY_PORT,
  PROXY_PORT,
  PROXY4,
  PROXY6,
  program,
  SINK_PORT,
  TUN,
  UDP_PORT,
  type User,
  WEB4,
  WEB6,
  World,
} from './world.js'

const PROXY = ['--proxy', `socks5://127.0.0.1:${PROXY_PORT}`]
const needs = { lab: true, peers: ['curl', 'setpriv', 'python3', 'ping', 'ip'], built: [TUN, join(ROOT, 'packages/cli/dist/main.js')] }
const here = process.env.TUN_TEST_SCRATCH ?? tmpdir()

describeSystem('tun exec', needs, () => {
  let world: World
  beforeAll(async () => {
    world = await World.open()
  })
  afterAll(() => world?.close())

  const curl = (...args: string[]) => ['--', 'curl', '-q', '-sS', '--max-time', '10', ...args]

  describe.each<User>(['root', 'nobody'])('as %s', user => {
    it('fetches by address and by name, IPv4 and IPv6, directly', async () => {
      for (const [url, from] of [
        [`http://${WEB4}/`, WEB4],
        [`http://[${WEB6}]/`, WEB6],
        ['http://v4.test/', WEB4],
      ]) {
        const done = await world.run(['exec', ...curl(url)], { user })
        expect(done.stderr).toBe('')
        expect(done.stdout.toString()).toContain(`You come from ${from}`)
      }
    })

    it('fetches through a SOCKS5 proxy, which gets names as names and addresses as addresses', async () => {
      const before = world.proxy.lines.length
      for (const [args, from] of [
        [[`http://${WEB4}/`], PROXY4],
        [[`http://[${WEB6}]/`], PROXY6],
        [['-4', 'http://v4.test/'], PROXY4],
        [['-6', 'http://v4.test/'], PROXY4], // its fake IPv6 address leads to a name that has only IPv4
      ] as [string[], string][]) {
        const done = await world.run(['exec', ...PROXY, ...curl(...args)], { user })
        expect(done.stderr).toBe('')
        expect(done.stdout.toString()).toContain(`You come from ${from}`)
      }
      expect(world.proxy.lines.slice(before)).toEqual([
        `CONNECT ${WEB4}:80`,
        `CONNECT 2001:0db8:0001:0000:0000:0000:0000:0010:80`,
        'CONNECT v4.test:80',
        'CONNECT v4.test:80',
      ])
    })

    it('fetches through an HTTP proxy, by CONNECT, and is told what it refuses', async () => {
      const before = world.httpProxy.lines.length
      const way = ['exec', '--proxy', `http://127.0.0.1:${HTTP_PROXY_PORT}`]
      const done = await world.run([...way, ...curl('-4', 'http://v4.test/')], { user })
      expect(done.stderr).toBe('')
      expect(done.stdout.toString()).toContain(`You come from ${PROXY4}`)
      const refused = await world.run([...way, ...curl(`http://${WEB4}:9/`)], { user })
      expect(refused.code).toBe(7) // curl: failed to connect
      expect(world.httpProxy.lines.slice(before)).toEqual(['CONNECT v4.test:80', `CONNECT ${WEB4}:9`])
    })

    it.each([
      ['directly', [], WEB4, WEB6],
      ['through the proxy', PROXY, PROXY4, PROXY6],
    ])('carries UDP and DNS over UDP and TCP of a program without libraries, %s', async (_, way, from4, from6) => {
      const done = await world.run(['exec', ...way, 'python3', program('datagrams.py'), 'v4.test', String(UDP_PORT), WEB4, WEB6], { user })
      expect(done.stderr).toBe('')
      expect(done.stdout.toString().trim().split('\n')).toEqual([
        expect.stringMatching(/^udp 1 198\.18\./),
        expect.stringMatching(/^udp 28 fc00:/),
        expect.stringMatching(/^tcp 1 198\.18\./),
        `${WEB4} ${from4}: hello True`,
        `${WEB6} ${from6}: hello True`,
        `v4.test ${from4}: hello True`,
      ])
    })

    it('gives each name an address that the kernel lets a connection go to: no broadcast, nor the nameserver’s', async () => {
      const names = [1, 2, 3, 4].map(n => `web${n}.test`)
      const asking = `for name in ${names.join(' ')}; do getent ahostsv4 $name | head -1; done`
      const script = `${asking}; curl -4 -q -sS --max-time 10 http://v4.test/`
      const done = await world.run(['exec', '--', 'sh', '-c', script], { user })
      const addresses = [...done.stdout.toString().matchAll(/^(198\.\S+) +STREAM (\S+)/gm)]
      expect(addresses.map(([, , name]) => name)).toEqual(names)
      expect(addresses.map(([, address]) => address)).not.toContain('198.18.0.2')
      expect(done.stdout.toString()).toContain(`You come from ${WEB4}`)
      const routes = addresses.map(([, address]) => `ip route get ${address}`).join('; ')
      const ways = await world.run(['exec', '--', 'sh', '-c', routes], { user })
      expect(ways.stdout.toString()).not.toMatch(/broadcast|local/)
    })

    it('carries pings to the real host, by address and by name, if this user may send some', async () => {
      world.machine.sysctl('net.ipv4.ping_group_range', `${NOBODY} ${NOBODY}`) // root has its capability
      for (const [to, shown] of [
        [WEB4, WEB4],
        [WEB6, WEB6],
        ['-4 v4.test', 'v4.test'],
      ]) {
        const done = await world.run(['exec', '-v', '--', 'ping', '-c', '1', '-W', '5', ...to.split(' ')], { user })
        expect(done.stdout.toString()).toMatch(/^64 bytes from .* icmp_seq=1 ttl=63 /m) // one hop: us
        expect(done.stderr).toContain(`tun: ping ${shown} by DIRECT`)
      }
      const nobody = await world.run(['exec', '--', 'ping', '-c', '1', '-W', '5', '10.9.9.9'], { user }) // no route leads there
      expect(nobody.stdout.toString()).toMatch(/^From \S+ icmp_seq=1 Destination Net Unreachable/m)
    })

    it('refuses pings where nobody carries them: behind a proxy; icmp: of a file says otherwise', async () => {
      const ping = ['--', 'ping', '-n', '-c', '1', '-W', '1', '192.0.2.77']
      const refused = await world.run(['exec', ...PROXY, ...ping], { user })
      expect(refused).toMatchObject({ code: 1, stderr: '' })
      expect(refused.stdout.toString()).toContain('From 192.0.2.77 icmp_seq=1 Packet filtered')
      const file = join(here, `tun-icmp-${process.pid}.yaml`)
      writeFileSync(file, 'icmp: fake\n', { mode: 0o644 })
      try {
        const faked = await world.run(['exec', '--config', file, ...PROXY, ...ping], { user })
        expect(faked.stdout.toString()).toContain('64 bytes from 192.0.2.77: icmp_seq=1 ttl=64 ')
      } finally {
        rmSync(file)
      }
    })

    it('is not in the way: arguments, standard input and output, environment, user, directory, exit code', async () => {
      const script = 'cat; echo "$1|$2"; id -u; pwd; echo err >&2; exit 42'
      const done = await world.run(['exec', 'sh', '-c', script, 'sh', '--proxy', 'a b'], { user, input: 'from stdin\n' })
      expect(done.stdout.toString()).toBe(`from stdin\n--proxy|a b\n${user === 'root' ? 0 : 65534}\n/\n`)
      expect(done.stderr).toBe('err')
      expect(done.code).toBe(42)
      const within = ['env', 'odd-name.x=1\n2'] // no shell's variable
      const variables = await world.run(['exec', 'env'], { user, within })
      expect(variables.stdout.toString()).toMatch(/^odd-name\.x=1\n2$/m)
    })

    it('answers 128 + n for a command that a signal ended, 127 and 126 for one that could not run', async () => {
      expect((await world.run(['exec', '--', 'sh', '-c', 'kill -KILL $$'], { user })).code).toBe(137)
      expect(await world.run(['exec', 'no-such-program'], { user })).toMatchObject({
        code: 127,
        stderr: 'tun: no-such-program: no such program',
      })
      expect(await world.run(['exec', '/dev/null'], { user })).toMatchObject({
        code: 126,
        stderr: 'tun: /dev/null: it is not an executable file',
      })
    })

    it('hands signals on, and lets the command decide', async () => {
      const trap = 'trap "echo term; exit 5" TERM; trap "echo int" INT; trap "echo hup" HUP; echo ready; while :; do sleep 0.05; done'
      const tun = world.start(['exec', '--', 'sh', '-c', trap], { user })
      await tun.waitFor(/ready/)
      tun.kill('SIGINT')
      await tun.waitFor(/^int/)
      tun.kill('SIGHUP')
      await tun.waitFor(/^hup/)
      tun.kill('SIGTERM')
      expect((await tun.exited).code).toBe(5)
      expect(tun.lines).toContain('term')
    })

    it('ends with the command, and lets live what the command left', async () => {
      const before = performance.now()
      const done = await world.run(['exec', '--', 'sh', '-c', 'sleep 60 >/dev/null 2>&1 </dev/null & echo $!'], { user })
      expect(done.code).toBe(0)
      expect(performance.now() - before).toBeLessThan(10_000)
      const left = Number(done.stdout.toString())
      expect(process.kill(left, 0)).toBe(true)
      process.kill(left)
    })

    it.each([
      ['directly', []],
      ['through the proxy', PROXY],
    ])('sends what the command wrote before it ended, %s', async (_, way) => {
      const { lines } = world.sink
      const before = lines.length
      const write = async (script: string, line: string) => {
        const done = await world.run(['exec', ...way, '--', 'bash', '-c', script], { user })
        expect(done).toMatchObject({ code: 0, stderr: '' })
        await until(line, 5000, () => lines.includes(line, before))
      }
      await write(`head -c 8000000 /dev/zero > /dev/tcp/${WEB4}/${SINK_PORT}`, 'end after 8000000')
      await write(`echo ${user} > /dev/udp/${WEB4}/${SINK_PORT}`, `datagram ${user}`)
      await write(`echo ${user} by name > /dev/udp/v4.test/${SINK_PORT}`, `datagram ${user} by name`)
    })

    it('resets what a process left in the background had open, and does not wait for it', async () => {
      const { lines } = world.sink
      const before = lines.length
      const script = `exec 3>/dev/tcp/${WEB4}/${SINK_PORT}; sleep 20 <&- >&- 2>&- & echo x >&3; sleep 1; echo $!`
      const start = performance.now()
      const done = await world.run(['exec', '--', 'bash', '-c', script], { user })
      expect(performance.now() - start).toBeLessThan(5000)
      await until('the reset', 5000, () => lines.length > before)
      expect(lines.slice(before)).toEqual(['ECONNRESET after 2'])
      process.kill(Number(done.stdout.toString()))
    })

    it('runs within itself', async () => {
      const within = ['exec', '--', process.execPath, TUN, 'exec', ...curl(`http://v4.test/`)]
      const done = await world.run(within, { user })
      expect(done.stderr).toBe('')
      expect(done.stdout.toString()).toContain(`You come from ${WEB4}`)
    })

    it('leaves the machine’s resolv.conf and no file behind', async () => {
      const script = 'cat /etc/resolv.conf; grep ^hosts /etc/nsswitch.conf || true'
      const inside = await world.run(['exec', 'sh', '-c', script], { user })
      expect(inside.stdout.toString()).toMatch(/^nameserver 198\.18\.0\.2\n(hosts: files dns\n)?$/)
      expect(readFileSync('/etc/resolv.conf', 'utf8')).not.toContain('198.18.0.2')
      const left = spawnSync('find', [tmpdir(), '-maxdepth', '1', '-name', 'tun-isolate-*', '-mmin', '-1'], { encoding: 'utf8' })
      expect(left.stdout).toBe('')
    })
  })

  const compiler = lacking({ peers: ['g++'] })
  it.skipIf(compiler)('reaches a static binary: nothing is preloaded', async () => {
    const directory = join(here, `tun-static-${process.pid}`)
    const source = `#include <arpa/inet.h>\n#include <stdio.h>\n#include <unistd.h>
int main() { struct sockaddr_in to = {0}; char text[500]; int s = socket(AF_INET, SOCK_STREAM, 0), n;
  to.sin_family = AF_INET; to.sin_port = htons(80); inet_pton(AF_INET, "${WEB4}", &to.sin_addr);
  if (connect(s, (struct sockaddr *)&to, sizeof to) < 0) return 1;
  if (write(s, "GET / HTTP/1.0\\r\\n\\r\\n", 18) != 18) return 2;
  while ((n = read(s, text, sizeof text)) > 0) fwrite(text, 1, n, stdout);
  return 0; }`
    const built = spawnSync('cc', ['-static', '-O1', '-x', 'c', '-', '-o', directory], { input: source, encoding: 'utf8' })
    expect(built.stderr).toBe('')
    chmodSync(directory, 0o755)
    try {
      const done = await world.run(['exec', ...PROXY, directory])
      expect(done.stdout.toString()).toContain(`You come from ${PROXY4}`)
      expect(done.code).toBe(0)
    } finally {
      rmSync(directory)
    }
  })

  it('says what would permit pings, once, and refuses them, if this user may send none', async () => {
    world.machine.sysctl('net.ipv4.ping_group_range', '1 0')
    const done = await world.run(['exec', '--', 'ping', '-n', '-c', '2', '-i', '0.2', '-W', '5', WEB4])
    expect(done.stdout.toString().match(/Packet filtered/g)).toHaveLength(2)
    expect(done.stderr).toMatch(
      /^tun: pings are refused: this user may open no ping socket \(EACCES\)\ntun: .*sudo sysctl -w net\.ipv4\.ping_group_range='.*$/,
    )
  })

  it('as root of a container that may make namespaces but no NIC: in a user namespace, as for anybody else', async () => {
    const within = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin', '--']
    const done = await world.run(['exec', ...curl(`http://${WEB4}/`)], { user: 'root', within })
    expect(done.stderr).toBe('')
    expect(done.stdout.toString()).toContain(`You come from ${WEB4}`)
  })

  it('logs in to a proxy, and says that it is the proxy that fails', async () => {
    const [user, ...password] = ACCOUNT.split(':')
    const url = `socks5://${user}:${encodeURIComponent(password.join(':'))}@127.0.0.1:${PROXY_PORT + 1}`
    expect((await world.run(['exec', '--proxy', url, ...curl('http://v4.test/')])).stdout.toString()).toContain(PROXY4)
    const wrong = await world.run(['exec', '--proxy', url.replace('me', 'you'), ...curl('-o', '/dev/null', 'http://v4.test/')])
    expect(wrong.stderr).toMatch(/^tun: SOCKS5 proxy 127\.0\.0\.1:1081 does not accept this user name and password.*\ncurl: \(7\)/)
    const nobody = await world.run(['exec', '--proxy', 'socks5://127.0.0.1:9', ...curl('-o', '/dev/null', 'http://v4.test/')])
    expect(nobody.stderr).toMatch(/^tun: SOCKS5 proxy 127\.0\.0\.1:9 cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:9\ncurl: \(7\)/)
  })

  it('takes dns: and the way of MATCH from a Clash file, and records a pcap', async () => {
    const file = join(here, `tun-config-${process.pid}.yaml`)
    const pcap = join(here, `tun-${process.pid}.pcap`)
    const proxy = `{ name: office, type: socks5, server: 127.0.0.1, port: ${PROXY_PORT}, udp: true }`
    writeFileSync(file, `mixed-port: 7890\ndns:\n  fake-ip-range: 10.99.0.1/16\nproxies:\n  - ${proxy}\nrules:\n  - MATCH,office\n`)
    try {
      const args = ['exec', '-v', '--config', file, '--pcap', pcap, ...curl('-4', '-w', '%{remote_ip}', 'http://v4.test/')]
      const done = await world.run(args, { user: 'root' })
      expect(done.stdout.toString()).toMatch(new RegExp(`You come from ${PROXY4}\\.\n10\\.99\\.`))
      expect(done.stderr).toBe(`tun: TCP v4.test:80 by office (socks5://127.0.0.1:${PROXY_PORT})`)
      const bytes = readFileSync(pcap)
      expect(bytes.readUInt32BE(0)).toBe(0xa1b2c3d4)
      expect(bytes.includes('You come from')).toBe(true)
    } finally {
      for (const path of [file, pcap]) rmSync(path, { force: true })
    }
  })

  describe('where /etc/resolv.conf', () => {
    // An /etc and a /run of their own, resolv.conf as a link to `target`.
    const linked = (target: string, prepare: string) => {
      const etc = '/run/etc'
      const script = `mount -t tmpfs none /run && cp -a /etc ${etc} && rm -f ${etc}/resolv.conf ${etc}/nsswitch.conf && ${prepare} &&
        ln -s ${target} ${etc}/resolv.conf && ln -s /run/nowhere ${etc}/nsswitch.conf && mount --bind ${etc} /etc && exec "$@"`
      return { user: 'nobody' as const, within: ['sh', '-c', script, 'sh'] }
    }
    const hop = 'mkdir -p /run/systemd/resolve /run/hop && ln -s ../systemd/resolve/deep/resolv.conf /run/hop/resolv.conf'

    it.each([
      [
        'is systemd-resolved’s',
        '../run/systemd/resolve/stub-resolv.conf',
        'mkdir -p /run/systemd/resolve && touch /run/systemd/resolve/stub-resolv.conf',
      ],
      ['leads to nothing behind the mask, over other links', '/run/hop/resolv.conf', hop],
    ])('%s, names are found', async (_, target, prepare) => {
      const args = ['exec', ...PROXY, ...curl('-4', 'http://v4.test/')]
      const done = await world.run(args, linked(target, prepare))
      expect(done.stderr).toBe('')
      expect(done.stdout.toString()).toContain(`You come from ${PROXY4}`)
    })

    it('leads nowhere, that is said, with the cure', async () => {
      const done = await world.run(['exec', 'true'], linked('/run/gone/resolv.conf', 'true'))
      expect(done).toMatchObject({
        code: 125,
        stderr:
          "tun: /etc/resolv.conf is a link to /run/gone/resolv.conf, which does not exist: the command's own has no place\n" +
          'tun: run: sudo mkdir -p /run/gone && sudo touch /run/gone/resolv.conf',
      })
    })
  })

  describe('without the right to do it', () => {
    it('names the device node, its mode, and the cure', async () => {
      const done = await world.run(['exec', 'true'], { nodeMode: '0600' })
      expect(done).toMatchObject({
        code: 125,
        stderr: 'tun: the device node /dev/net/tun cannot be opened by this user (mode 0600)\ntun: run: sudo chmod 0666 /dev/net/tun',
      })
    })

    it('names the switch that forbids user namespaces, and the cure', async () => {
      // The switch belongs to a user namespace: this one is the test's. Its root has no capabilities, so it needs one of its own.
      const within = ['unshare', '-Ur', 'sh', '-c', 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', 'sh']
      const done = await world.run(['exec', 'true'], { user: 'root', within: [...within, 'setpriv', '--bounding-set=-all', '--'] })
      expect(done).toMatchObject({
        code: 125,
        stderr:
          'tun: user namespaces are switched off (user.max_user_namespaces is 0)\ntun: run: sudo sysctl -w user.max_user_namespaces=15000',
      })
    })

    it('never runs the command with another network than it was promised', async () => {
      const done = await world.run(['exec', 'echo', 'it ran'], { nodeMode: '0600' })
      expect(done.stdout.toString()).toBe('')
    })
  })

  it('loses its network, not finds another, when tun is killed', async () => {
    const tun = world.start(['exec', '--', 'sh', '-c', `echo ready; sleep 1; curl -q -sS --max-time 3 http://${WEB4}/; echo code $?`])
    await tun.waitFor(/ready/)
    tun.child.kill('SIGKILL')
    await until('the command to end', 10_000, () => tun.lines.some(line => line.startsWith('code')))
    expect(tun.lines).toContain('code 7')
  })
})
