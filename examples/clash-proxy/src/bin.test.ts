import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const built = existsSync(here('../dist/main.js'))

const directory = mkdtempSync(join(tmpdir(), 'clash-proxy-'))
afterAll(() => rmSync(directory, { recursive: true }))

interface Ended {
  status: number | null
  out: string
  err: string
}

function run(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [here('../bin/clash-proxy.js'), ...args], { cwd: directory })
  const ended: Ended = { status: null, out: '', err: '' }
  child.stdout.on('data', chunk => (ended.out += chunk))
  child.stderr.on('data', chunk => (ended.err += chunk))
  return new Promise(resolve => child.on('close', status => resolve({ ...ended, status })))
}

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text)
  return name
}

const TUN = 'tun:\n  enable: true\n  device-url: dev://tun0\n'

describe.skipIf(!built)(built ? 'the command' : 'the command (skipped: no dist/, run `npm run build`)', () => {
  test.each([
    ['a missing file', ['-f', 'none.yaml'], 'clash-proxy: none.yaml cannot be read: no such file or directory (ENOENT)\n'],
    ['a directory', ['-f', '.'], /cannot be read: illegal operation on a directory \(EISDIR\)\n$/],
    ['an unknown option', ['--confg', 'x'], 'clash-proxy: unknown option --confg (-h shows the options)\n'],
    [
      'broken YAML',
      ['-f', file('broken.yaml', 'a: 1\nb: 2\nbind-address: [true\n')],
      `broken.yaml:3:15: error[tun/yaml]: '[' is never closed
  3 | bind-address: [true
    |               ^
help: add ']'

broken.yaml: 1 error
`,
    ],
    [
      'an unknown proxy type',
      ['-f', file('type.yaml', `${TUN}proxies:\n  - {name: a, type: nosuchtype, server: h, port: 1}\n`)],
      new RegExp(
        String.raw`^type\.yaml:5:21: error\[tun/proxies\]: proxies\[0\]\.type: unknown proxy type 'nosuchtype' \(supported: .*\)\n` +
          String.raw` {2}5 \| .*\n {4}\| +\^{10}\n`,
      ),
    ],
    [
      'a bad device',
      ['-f', file('device.yaml', TUN.replace('dev:', 'tap:'))],
      /^device\.yaml:3:15: error\[tun\/device-url\]: tun\.device-url: .*tap.*\n/,
    ],
    [
      'a descriptor that is not open: known only when it is opened, and told with its line',
      ['-f', file('fd.yaml', TUN.replace('dev://tun0', 'fd://999'))],
      'clash-proxy: fd.yaml:3:15: tun.device-url: fd://999: descriptor 999 is not open in this process (ERR_TUN_BAD_DESCRIPTOR)\n' +
        'clash-proxy: let the parent process pass it on (stdio)\n',
    ],
    [
      'DNS at an address whose packets never come',
      ['-f', file('listen.yaml', `${TUN}  dns-listen: 127.0.0.1:53\n`)],
      "clash-proxy: listen.yaml:4:15: tun.dns-listen: '127.0.0.1' is local to the host: its kernel answers there itself. " +
        'Use e.g. 198.18.0.2 (ERR_TUN_LOCAL_ADDRESS)\n',
    ],
    ['a TUN that is not enabled', ['-f', file('off.yaml', 'tun: {enable: false}\n')], /^clash-proxy: off\.yaml: tun\.enable is not true/],
  ])('%s: says so, exit code 1', async (_, args, message) => {
    const { status, out, err } = await run(...args)
    if (typeof message === 'string') expect(err).toBe(message)
    else expect(err).toMatch(message)
    expect([status, out]).toEqual([1, ''])
  })

  test('-t checks: 0 and the report of warnings if it is good, 1 and the whole report if not', async () => {
    const good = await run('-t', '-f', file('good.yaml', `${TUN}  stack: mixed\nallow-lan: false\n`))
    const warned = `good.yaml:4:3: note[tun/stack]: tun.stack: there is one stack here, in user space as gvisor is, and it serves them all
  4 |   stack: mixed
    |   ^^^^^

good.yaml:5:1: warning[tun/not-acted-on]: allow-lan: known to Clash/mihomo, not acted on yet
  5 | allow-lan: false
    | ^^^^^^^^^

good.yaml: 1 warning, 1 note
`
    expect(good).toEqual({ status: 0, out: 'good.yaml: configuration ok\n', err: warned })
    expect(await run('-t', '-f', file('quiet.yaml', TUN))).toEqual({ status: 0, out: 'quiet.yaml: configuration ok\n', err: '' })
    const bad = await run('-t', '-d', directory, '-f', file('bad.yaml', 'rules: [x]\nmtu: 1\n'))
    expect(bad).toMatchObject({ status: 1, out: '' })
    expect(bad.err.split('\n')).toEqual([
      expect.stringContaining('bad.yaml:1:9: error[tun/rules]: rules[0]: unknown rule type'),
      '  1 | rules: [x]',
      '    |         ^',
      '',
      'bad.yaml:2:1: warning[tun/unknown-key]: mtu: unknown key',
      '  2 | mtu: 1',
      '    | ^^^',
      "help: it belongs under 'tun:'",
      '',
      'bad.yaml: 1 error, 1 warning',
      '',
    ])
  })

  test('-h and -v answer on stdout', async () => {
    expect(await run('-h')).toMatchObject({ status: 0, out: expect.stringContaining('-f FILE') })
    expect(await run('-v')).toMatchObject({ status: 0, out: expect.stringMatching(/^clash-proxy \d+\.\d+\.\d+\n$/) })
  })
})
