import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { FakeIpPool } from './fake-ip.js'
import { openFakeIpFile } from './fake-ip-file.js'
import { until } from './resolver.test-kit.js'

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'fake-ip-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function open(path: string, range4 = '10.0.0.1/24', onWarning = (message: string): void => expect.unreachable(message)) {
  return new FakeIpPool({ range4, range6: 'fc00::/64', store: openFakeIpFile(path, { onWarning }) })
}

test('after a restart a name has its address, an address its name, and new names get other addresses', () => {
  const path = join(directory(), 'deep', 'fake-ip')
  const first = open(path)
  const given = ['a', 'b', 'c'].map(name => [first.lookup(name, 4), first.lookup(name, 6)])
  first.close()
  const second = open(path)
  expect(second.nameOf(given[1][0] ?? '')).toBe('b')
  expect(['c', 'b', 'a'].map(name => [second.lookup(name, 4), second.lookup(name, 6)])).toEqual([...given].reverse())
  const later = ['d', 'e', 'f'].map(name => second.lookup(name, 4))
  expect(new Set([...later, ...given.map(([v4]) => v4)]).size).toBe(6)
  second.flush()
  second.close()
  expect(open(path).nameOf(given[0][0] ?? '')).toBe(undefined)
})

test('what was assigned less than a second ago is in the file', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const path = join(directory(), 'fake-ip')
  open(path).lookup('a', 4)
  vi.advanceTimersByTime(999)
  expect(readFileSync(path, 'utf8')).toContain('10.0.0.2 a ')
})

test('cut anywhere or damaged, the file gives every line that is whole, and takes new ones', () => {
  const path = join(directory(), 'fake-ip')
  const pool = open(path)
  for (let i = 0; i < 20; i++) pool.lookup(`host-${i}`, 4)
  pool.close()
  const whole = readFileSync(path)
  for (let length = whole.length; length >= 0; length -= 7) {
    writeFileSync(path, whole)
    truncateSync(path, length)
    const lines = whole.subarray(0, length).toString().split('\n').length - 1
    const again = open(path)
    expect(again.stats(4).named).toBe(Math.max(0, lines - 1))
    const late = again.lookup('late', 4)
    again.close()
    const third = open(path)
    expect([third.lookup('late', 4), third.stats(4).named]).toEqual([late, Math.max(0, lines - 1) + 1])
    third.close()
  }
  writeFileSync(path, whole.toString('latin1').replace('host-3 ', 'host-4 ').replace('host-9', 'h\0st-9'), 'latin1')
  expect(open(path).stats(4).named).toBe(18)
})

test('when most lines are outdated the file is written anew, and nothing is lost meanwhile', async () => {
  const path = join(directory(), 'fake-ip')
  const pool = open(path, '10.0.0.1/29')
  for (let i = 0; i < 60_000; i++) {
    pool.lookup(`host-${i}`, 4)
    if (i % 5000 === 0) await new Promise(setImmediate)
  }
  await until(() => statSync(path).size < 400_000)
  for (let i = 0; i < 4; i++) pool.lookup(`late-${i}`, 4)
  const named = [2, 3, 4, 5, 6].map(last => pool.nameOf(`10.0.0.${last}`))
  pool.close()
  const again = open(path, '10.0.0.1/29')
  expect([2, 3, 4, 5, 6].map(last => again.nameOf(`10.0.0.${last}`))).toEqual(named)
  expect(readdirSync(join(path, '..')).filter(name => name.endsWith('.new'))).toEqual([])
})

test('what is assigned while the file is written anew is in the new one', async () => {
  const path = join(directory(), 'fake-ip')
  const pool = open(path, '10.0.0.1/29')
  const { ino } = statSync(path)
  for (let i = 0; i < 12_000; i++) {
    pool.lookup(`host-number-${i}`, 4)
    if (i === 7000) pool.pin(pool.lookup('kept', 4) ?? '') // the third batch has begun it, and it goes on after this turn only
  }
  const kept = pool.lookup('kept', 4)
  await until(() => statSync(path).ino !== ino)
  pool.close()
  expect(open(path, '10.0.0.1/29').nameOf(kept ?? '')).toBe('kept')
})

test('another range, fewer addresses, a service that listens: what fits is kept', () => {
  const path = join(directory(), 'fake-ip')
  const pool = open(path)
  const [a, b] = ['a', 'b'].map(name => pool.lookup(name, 4))
  pool.close()
  const other = new FakeIpPool({ range4: '10.0.0.1/24', reserved: [a ?? ''], store: openFakeIpFile(path) })
  expect([other.nameOf(a ?? ''), other.nameOf(b ?? ''), other.lookup('a', 4) === a]).toEqual([undefined, 'b', false])
  other.close()
  expect(open(path, '10.9.0.1/24').stats(4).named).toBe(0)
})

test('an unusable file is one warning, is left as it is, and addresses are stable all the same', () => {
  const base = directory()
  const foreign = join(base, 'config.yaml')
  writeFileSync(foreign, 'mode: rule\n')
  const used = join(base, 'used')
  open(used)
  writeFileSync(join(base, 'plain'), '')
  for (const [path, why] of [
    [foreign, /some other file/],
    [used, /in use already/],
    [join(base, 'plain', 'below'), /ENOTDIR|EEXIST/],
  ] as const) {
    const warnings: string[] = []
    const pool = open(path, undefined, message => warnings.push(message))
    const a = pool.lookup('a', 4)
    pool.lookup('b', 4)
    pool.flush()
    expect(pool.lookup('a', 4)).not.toBe(null)
    expect(pool.lookup('a', 4)).toBe(pool.lookup('A.', 4))
    expect(a).toBe('10.0.0.2')
    pool.close()
    expect(warnings).toEqual([expect.stringMatching(why)])
  }
  expect(readFileSync(foreign, 'utf8')).toBe('mode: rule\n')
})

test('the lock of a process that is gone, or that was another with the same number, does not bind', () => {
  const path = join(directory(), 'fake-ip')
  for (const holder of ['4194304 77', `${process.ppid} 1`, 'nonsense']) {
    writeFileSync(`${path}.lock`, `${holder}\n`)
    open(path).close()
    expect(existsSync(`${path}.lock`)).toBe(false)
  }
  const start = readFileSync(`/proc/${process.ppid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')[19]
  writeFileSync(`${path}.lock`, `${process.ppid} ${start}\n`)
  const warnings: string[] = []
  open(path, undefined, message => warnings.push(message))
  expect(warnings).toEqual([expect.stringContaining(`process ${process.ppid} uses it`)])
  appendFileSync(path, '') // it was never made ours
})

test.skipIf(process.platform === 'win32')(
  'links that another account has put there are not written through, and nothing is waited for',
  () => {
    const at = directory()
    const path = join(at, 'fake-ip')
    const theirs = join(at, 'theirs')
    writeFileSync(theirs, 'shadow')
    for (const name of [`${path}.lock.${process.pid}`, `${path}.new`]) symlinkSync(theirs, name)
    open(path).close()
    appendFileSync(path, 'a torn line') // has it written anew
    symlinkSync(theirs, `${path}.lock.${process.pid}`)
    open(path).close()
    expect(readFileSync(path, 'utf8')).not.toContain('torn')
    expect(readFileSync(theirs, 'utf8')).toBe('shadow')

    const warnings: string[] = []
    rmSync(path)
    symlinkSync(join(at, 'not there'), path)
    open(path, undefined, message => warnings.push(message))
    expect(existsSync(join(at, 'not there'))).toBe(false)
    rmSync(path)
    execFileSync('mkfifo', [path])
    open(path, undefined, message => warnings.push(message))
    expect(warnings).toEqual([expect.stringContaining('ELOOP'), expect.stringContaining('it is no file')])
  },
)
