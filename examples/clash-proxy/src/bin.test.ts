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
    ['broken YAML', ['-f', file('broken.yaml', 'a: 1\nb: 2\nbind-address: [true\n')], /^clash-proxy: broken\.yaml:[34]:\d+: .+\n$/],
    [
      'an unknown proxy type',
      ['-f', file('type.yaml', `${TUN}proxies:\n  - {name: a, type: nosuchtype, server: h, port: 1}\n`)],
      /^clash-proxy: type\.yaml:5:21: proxies\[0\]\.type: unknown proxy type 'nosuchtype' \(supported: .*\)\n$/,
    ],
    [
      'a bad device',
      ['-f', file('device.yaml', TUN.replace('dev:', 'tap:'))],
      /^clash-proxy: device\.yaml:3:15: tun\.device-url: .*tap.*\n$/,
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

  test('-t checks: 0 and the warnings if it is good, 1 if not', async () => {
    const good = await run('-t', '-f', file('good.yaml', `${TUN}allow-lan: false\n`))
    expect(good).toEqual({
      status: 0,
      out: 'good.yaml: configuration ok\n',
      err: expect.stringContaining('good.yaml:4:1: warning: allow-lan'),
    })
    const bad = await run('-t', '-d', directory, '-f', file('bad.yaml', 'rules: [x]\n'))
    expect(bad).toMatchObject({ status: 1, out: '', err: expect.stringContaining('bad.yaml:1:9: rules[0]: unknown rule type') })
  })

  test('-h and -v answer on stdout', async () => {
    expect(await run('-h')).toMatchObject({ status: 0, out: expect.stringContaining('-f FILE') })
    expect(await run('-v')).toMatchObject({ status: 0, out: expect.stringMatching(/^clash-proxy \d+\.\d+\.\d+\n$/) })
  })
})
