// `tun dump`: a command's packets and those of a running proxy, judged by tshark and capinfos. And that nobody has to read them.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, type Namespace, NOBODY, until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { APP4, TUN as NIC, Scene, SERVER4 } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { describeSystem, PROXY, ROOT } from './requirements.js'

const TUN = join(ROOT, 'packages/cli/bin/tun.js')
const BUILT = [TUN, join(ROOT, 'packages/cli/dist/main.js')]
const WEB4 = '203.0.113.10'
const DNS = '203.0.113.53'
const here = join(ROOT, 'scripts/lab')

/** What tshark makes of these fields of a file, a row each. */
function fields(file: string, ...names: string[]): string[][] {
  const args = ['-r', file, '-n', '-T', 'fields', ...names.flatMap(name => ['-e', name])]
  const done = spawnSync(findBinary('tshark')!, args, { encoding: 'utf8' })
  expect(done.status).toBe(0)
  return done.stdout
    .split('\n')
    .filter(Boolean)
    .map(line => line.split('\t'))
}

describeSystem('tun dump of a command', { lab: true, peers: ['curl', 'setpriv', 'tshark'], built: BUILT }, () => {
  let lab: Lab
  let machine: Namespace
  beforeAll(async () => {
    lab = new Lab()
    machine = lab.namespace('machine', { resolver: DNS })
    for (const address of [WEB4, DNS]) machine.address(`${address}/32`, 'lo')
    spawnSync('chmod', ['0777', lab.directory])
    const names = machine.start(process.execPath, [join(here, 'dns-server.mjs'), DNS, `web.test=${WEB4}`])
    const web = machine.start(process.execPath, [join(here, 'web-server.mjs'), lab.directory, WEB4])
    await Promise.all([names, web].map(server => server.waitFor(/listening/)))
  })
  afterAll(() => lab?.close())

  const start = (nobody: boolean, ...args: string[]) => {
    const become = nobody ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : []
    const node = 'mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200 && cd / && exec "$@"'
    return machine.start('unshare', ['-m', 'sh', '-c', node, 'sh', ...become, process.execPath, TUN, 'dump', ...args])
  }
  const run = (nobody: boolean, ...args: string[]) => start(nobody, ...args).finish(30_000, undefined)
  const curl = (url: string) => ['--', 'curl', '-4', '-q', '-sS', '--max-time', '10', url]

  it('prints a line for each packet, named by DNS, on stderr; the command’s output and exit code stay its own', async () => {
    for (const nobody of [false, true]) {
      const done = await run(nobody, ...curl('http://web.test/'))
      expect(done.code).toBe(0)
      expect(done.stdout.toString()).toContain(`You come from ${WEB4}`)
      const lines = done.stderr.split('\n')
      expect(lines.find(line => / {2}# A\? web\.test → 198\.18\./.test(line))).toMatch(
        /^\d\d:\d\d:\d\d\.\d{6} In {2}IP 198\.18\.0\.2\.53 > 198/,
      )
      expect(lines.find(line => /Flags \[S\],/.test(line))).toMatch(/ Out IP 198\.18\.0\.1\.\d+ > 198\.18\.[\d.]+\.80: .* # web\.test$/)
      expect((await run(nobody, '--', 'sh', '-c', 'exit 42')).code).toBe(42)
    }
  })

  it('shows what the filter lets through, and stops after as many packets as wanted while the command goes on', async () => {
    const dns = await run(true, '-f', 'udp port 53', ...curl('http://web.test/'))
    expect(dns.stderr.split('\n').every(line => /UDP.* # A\? web\.test/.test(line))).toBe(true)
    const flow = await run(true, '-f', 'tcp and dst name web.test and port 80', '-c', '2', ...curl('http://web.test/'))
    expect(flow.stderr.split('\n')).toEqual([expect.stringMatching(/Out .*\[S\]/), expect.stringMatching(/Out .*\[\.\]/)])
    expect(flow.stdout.toString()).toContain('You come from')
    const wrong = await run(true, '-f', 'host web.test', 'true')
    expect(wrong).toMatchObject({
      code: 125,
      stderr: 'tun: --filter: host web.test: not an IP address; for a name: name web.test',
    })
  })

  it('writes pcapng that tshark and capinfos read: link type, times, directions, comments, names', async () => {
    const file = join(lab.directory, 'out.pcapng')
    const before = Date.now() / 1000
    const done = await run(true, '-w', file, ...curl('http://web.test/'))
    expect(done).toMatchObject({ code: 0, stderr: expect.stringMatching(/^tun: \d+ packets$/) })
    const info = spawnSync(findBinary('capinfos')!, [file], { encoding: 'utf8' })
    expect(info).toMatchObject({ status: 0, stderr: '' })
    expect(info.stdout).toMatch(/File type:\s+Wireshark\/\.\.\. - pcapng/)
    expect(info.stdout).toMatch(/File encapsulation:\s+Raw IP/)
    expect(info.stdout).toMatch(/Capture application:\s+tun \d/)
    expect(info.stdout).toMatch(/Name = tun0/)
    const count = /tun: (\d+) packets/.exec(done.stderr)?.[1]
    const rows = fields(file, 'frame.time_epoch', 'frame.packet_flags_direction', 'frame.comment', 'http.request.full_uri', 'ip.dst')
    expect(String(rows.length)).toBe(count)
    for (const [time] of rows) expect(Math.abs(Number(time) - before)).toBeLessThan(60)
    const request = rows.find(row => row[3] !== '' && row[3] !== undefined)
    expect(request).toMatchObject([
      expect.anything(),
      expect.stringMatching(/^(0x0*2|2)$/),
      'web.test',
      'http://web.test/',
      expect.anything(),
    ])
    // The file itself says who the address is: -N n takes nothing from this machine.
    const hosts = spawnSync(findBinary('tshark')!, ['-r', file, '-q', '-z', 'hosts'], { encoding: 'utf8' })
    expect(hosts.stdout).toMatch(new RegExp(`^${request?.[4].replaceAll('.', '\\.')}\\s+web\\.test$`, 'm'))
  })

  it('leaves no file behind a mistake, and a full disk ends the writing, not the command', async () => {
    const file = join(lab.directory, 'never.pcapng')
    const wrong = await run(true, '-w', file, '--proxy', 'ftp://x', 'true')
    expect([wrong.code, existsSync(file)]).toEqual([125, false])
    const full = await run(false, '-w', '/dev/full', ...curl('http://web.test/'))
    expect(full.stdout.toString()).toContain('You come from')
    expect(full).toMatchObject({ code: 0, stderr: expect.stringMatching(/^tun: --write \/dev\/full: writing stopped \(ENOSPC\)$/m) })
  })

  it('-w - is a pipe into tshark, while the command’s words go to stderr', async () => {
    const tshark = `${findBinary('tshark')} -r - -n -T fields -e http.host -Y http.request`
    const node = 'mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200'
    const script = `${node} && ${process.execPath} ${TUN} dump -w - ${curl('http://web.test/').join(' ')} | ${tshark}`
    const done = await machine.run('unshare', ['-m', 'sh', '-c', script])
    expect(done.stdout.toString()).toBe('web.test\n')
    expect(done.stderr).toContain('You come from')
  })

  it('ends, and says what is missing, if a pipe that it may not open anew is not read at its end', async () => {
    const node = 'mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200'
    const user = `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups --`
    const over = join(lab.directory, 'over')
    const reader = `{ while [ ! -e ${over} ]; do sleep 0.1; done; }`
    // The reader waits for the end of the dump, which must not wait for the reader.
    const dump = `${user} ${process.execPath} ${TUN} dump -w - -- bash -c 'head -c 3000000 < /dev/tcp/${WEB4}/82 >&2 | cat'`
    const server = machine.start(process.execPath, [
      '-e',
      `require('net').createServer(s => s.end(Buffer.alloc(3000000))).listen(82, '${WEB4}', () => console.log('listening'))`,
    ])
    await server.waitFor(/listening/)
    const ran = await machine.run('unshare', [
      '-m',
      'bash',
      '-c',
      `${node} && { ${dump} 2>${lab.directory}/words; echo > ${over}; } | ${reader}`,
    ])
    expect(ran.code).toBe(0)
    expect(readFileSync(join(lab.directory, 'words'), 'latin1')).toMatch(/tun: --write -: the end is missing: nobody read it for 2 s/)
  })

  it('a reader that does not read holds nobody up: the command runs to its end, and what was left out is told', async () => {
    // Far more than pipe and queue hold; the reader wakes up when the command is through.
    const bytes = 60_000_000
    const big = machine.start('sh', ['-c', `head -c ${bytes} /dev/zero > ${lab.directory}/big && echo made`])
    await big.waitFor(/made/)
    const server = machine.start(process.execPath, [
      '-e',
      `
      require('net').createServer(s => require('fs').createReadStream('${lab.directory}/big').pipe(s)).listen(81, '${WEB4}', () => console.log('listening'))`,
    ])
    await server.waitFor(/listening/)
    const node = 'mount -t tmpfs none /dev/net && mknod -m 0666 /dev/net/tun c 10 200'
    const done = join(lab.directory, 'through')
    const command = `bash -c 'cat < /dev/tcp/${WEB4}/81 | wc -c > ${done}'`
    const reader = `{ while [ ! -s ${done} ]; do sleep 0.1; done; cat > ${lab.directory}/slow.pcapng; }`
    const ran = await machine.run('unshare', [
      '-m',
      'bash',
      '-c',
      `${node} && ${process.execPath} ${TUN} dump -w - -- ${command} | ${reader}`,
    ])
    expect(readFileSync(done, 'utf8').trim()).toBe(String(bytes))
    expect(ran.stderr).toMatch(/tun: \d+ packets, \d+ of them left out: they were not read in time/)
    const info = spawnSync(findBinary('capinfos')!, ['-c', join(lab.directory, 'slow.pcapng')], { encoding: 'utf8' })
    expect(info).toMatchObject({ status: 0, stderr: '' }) // no block is cut
  })
})

describeSystem('tun dump of a NIC', { lab: true, peers: ['tshark', 'setpriv'], built: [...BUILT, PROXY] }, () => {
  const dump = (world: Scene, ...args: string[]) => world.apps.start(process.execPath, [TUN, 'dump', '-i', NIC, ...args])

  it('shows what passes through a proxy that runs, ends at SIGINT with its file whole, and is not in the way', async () => {
    const world = await Scene.forThisTest()
    await world.serve('tcp-server', [SERVER4])
    const file = world.file('nic.pcapng')
    const watch = dump(world, '-w', file, '-f', `host ${SERVER4} and tcp`)
    await watch.waitFor(/listening on tun0/)
    const bytes = 3_000_000
    expect(await world.client('tcp-client', { op: 'download', bytes, host: SERVER4, from: APP4 })).toMatchObject({
      sha: patternHash(bytes),
    })
    await until('packets in the file', 10_000, () => readFileSync(file).length > bytes)
    watch.kill('SIGINT')
    expect(await watch.exited).toEqual({ code: 0, signal: null })
    expect(watch.tail(1)).toMatch(/^tun: \d+ packets/)
    const rows = fields(file, 'ip.src', 'ip.dst', 'tcp.flags.syn')
    expect(rows.length).toBe(Number(/(\d+) packets/.exec(watch.tail(1))?.[1]))
    expect(rows[0]).toEqual([APP4, SERVER4, expect.stringMatching(/^(1|True)$/)])
    for (const [from, to] of rows) expect([from, to].sort()).toEqual([APP4, SERVER4])
  })

  it('ends by itself after as many packets as wanted, and when the NIC goes', async () => {
    const world = await Scene.forThisTest()
    await world.serve('tcp-server', [SERVER4])
    const some = dump(world, '-c', '2', '-f', 'tcp')
    const all = dump(world)
    await Promise.all([some, all].map(watch => watch.waitFor(/listening on tun0/)))
    expect(await world.client('tcp-client', { op: 'many', count: 2, host: SERVER4, from: APP4 })).toEqual({ right: 2 })
    expect(await some.exited).toEqual({ code: 0, signal: null })
    const shown = some.lines.filter(line => / IP /.test(line))
    expect(shown).toEqual([expect.stringMatching(/Flags \[S\]/), expect.stringMatching(/Flags \[/)])
    world.apps.ip('link', 'del', NIC)
    expect(await all.exited).toEqual({ code: 0, signal: null })
    expect(all.tail()).toMatch(/tun: tun0 went down or was deleted\ntun: \d+ packets/)
  })

  it('leaves the file there is as it was, if it cannot look', async () => {
    const world = await Scene.forThisTest()
    const file = world.file('old.pcapng')
    writeFileSync(file, 'an older capture')
    expect(await world.apps.run(process.execPath, [TUN, 'dump', '-i', 'tun5', '-w', file])).toMatchObject({ code: 125 })
    expect(readFileSync(file, 'utf8')).toBe('an older capture')
  })

  it('says that nobody reads any more, and ends', async () => {
    const world = await Scene.forThisTest()
    await world.serve('tcp-server', [SERVER4])
    const watch = world.apps.start('bash', ['-c', `${process.execPath} ${TUN} dump -i ${NIC} | head -1`])
    await watch.waitFor(/listening on tun0/)
    expect(await world.client('tcp-client', { op: 'many', count: 2, host: SERVER4, from: APP4 })).toEqual({ right: 2 })
    expect(await watch.exited).toEqual({ code: 0, signal: null })
    expect(watch.tail()).toMatch(/tun: the lines: nobody reads any more\ntun: \d+ packets/)
  })

  it('says what is missing: the NIC, or the right', async () => {
    const world = await Scene.forThisTest()
    const none = await world.apps.run(process.execPath, [TUN, 'dump', '-i', 'tun5'])
    expect(none).toMatchObject({ code: 125, stderr: 'tun: tun5: there is no such NIC here\ntun: ip -br link shows those that are there' })
    const full = await world.apps.run(process.execPath, [TUN, 'dump', '-i', NIC, '-w', '/dev/full'])
    expect(full).toMatchObject({ code: 125, stderr: expect.stringContaining('tun: --write /dev/full: writing stopped (ENOSPC)') })
    const nobody = await world.apps.run(process.execPath, [TUN, 'dump', '-i', NIC], { nobody: true })
    expect(nobody).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(
        /^tun: tun0: looking at the packets of a NIC is not permitted\ntun: run as root, or: sudo setcap cap_net_raw/,
      ),
    })
  })
})
