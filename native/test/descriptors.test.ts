// Descriptors over sockets, and a command in namespaces of its own. The latter needs root; what people see of it: packages/cli/test.

import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import native from '../index.cjs'
import { missing } from './namespace.js'

let open: number[] = []
afterEach(() => {
  for (const fd of open) closeSync(fd)
  open = []
})

function pair(type: 'dgram' | 'seqpacket' | 'stream' = 'seqpacket'): [number, number] {
  const ends = native.socketpair(type)
  open.push(...ends)
  return ends
}

function closeNow(fd: number) {
  closeSync(fd)
  open = open.filter(other => other !== fd)
}

const descriptors = () => readdirSync('/proc/self/fd').length
/** flags of open(2), octal. */
const CLOEXEC = 0o2000000

describe('a descriptor over a socket', () => {
  it.each(['dgram', 'seqpacket', 'stream'] as const)('arrives over a %s socket as the same file, close-on-exec', type => {
    const [here, there] = pair(type)
    const file = openSync('/etc/passwd', 'r')
    open.push(file)
    native.sendDescriptor(here, file)
    const got = native.receiveDescriptor(there)
    open.push(got)
    expect(got).not.toBe(file)
    expect(fstatSync(got).ino).toBe(fstatSync(file).ino)
    const flags = /^flags:\s+0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${got}`, 'latin1'))?.[1] ?? ''
    expect(Number.parseInt(flags, 8) & CLOEXEC).toBe(CLOEXEC)
  })

  it('does not wait for ever, and tells a closed socket, bytes alone and several descriptors apart; none stays open', () => {
    const [here, there] = pair()
    expect(() => native.receiveDescriptor(there, 20)).toThrow(expect.objectContaining({ code: 'ETIMEDOUT', syscall: 'poll' }))
    writeSync(here, 'x')
    expect(() => native.receiveDescriptor(there)).toThrow(expect.objectContaining({ code: 'EPROTO', detail: 'no-descriptor' }))

    for (const count of [2, 20]) {
      const before = descriptors()
      const code = `import socket, array; socket.socket(fileno=3).sendmsg([b'x'], [(1, 1, array.array('i', [3] * ${count}))])`
      execFileSync('python3', ['-c', code], { stdio: ['ignore', 'inherit', 'inherit', here] })
      expect(() => native.receiveDescriptor(there)).toThrow(expect.objectContaining({ code: 'EPROTO', detail: 'several' }))
      expect(descriptors()).toBe(before)
    }
    closeNow(here)
    expect(() => native.receiveDescriptor(there)).toThrow(expect.objectContaining({ code: 'ECONNRESET', detail: 'ended' }))
    expect(() => native.sendDescriptor(there, 0)).toThrow(expect.objectContaining({ code: 'EPIPE', syscall: 'sendmsg' }))
  })

  it('bytes are sent as far as the socket takes them, and nobody waits', () => {
    const [here, there] = pair('stream')
    const bytes = new Uint8Array(4 << 20)
    const sent = native.sendNow(here, bytes)
    expect(sent).toBeGreaterThan(0)
    expect(sent).toBeLessThan(bytes.length)
    expect(() => native.sendNow(here, bytes)).toThrow(expect.objectContaining({ code: 'EAGAIN', syscall: 'send' }))
    closeNow(there)
    expect(() => native.sendNow(here, bytes)).toThrow(expect.objectContaining({ code: 'EPIPE' }))
    expect(() => native.sendNow(-1, bytes)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => native.sendNow(here, 'x' as never)).toThrow(TypeError)
  })

  it('refuses what is no descriptor and no socket', () => {
    const [here] = pair()
    expect(() => native.sendDescriptor(here, 99_999)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    const file = openSync('/etc/passwd', 'r')
    open.push(file)
    expect(() => native.sendDescriptor(file, file)).toThrow(expect.objectContaining({ code: 'ENOTSOCK' }))
    expect(() => native.receiveDescriptor(file)).toThrow(expect.objectContaining({ code: 'ENOTSOCK' }))
    expect(() => native.sendDescriptor('1' as never, 1)).toThrow(TypeError)
  })
})

const reason = missing()
if (reason && process.env.TUN_REQUIRE === 'all') throw new Error(reason)

describe.skipIf(reason)(`an isolated command${reason ? ` (skipped: ${reason})` : ''}`, () => {
  const request = (command: string[]) => ({
    command,
    env: [`PATH=${process.env.PATH}`],
    ...{ name: 'tun0', mtu: 1400, address4: '10.9.0.1', prefix4: 24, address6: 'fd00:9::1', prefix6: 64 },
    masks: [] as string[],
    files: [] as string[],
  })

  function run(command: string[], more: object = {}): Promise<[number, number] | undefined> {
    const child = native.isolate({ ...request(command), ...more })
    open.push(child.tun)
    return new Promise(resolve => {
      child.onExit(() => resolve(child.takeExit()))
      child.start()
    })
  }

  it('finds the TUN with its addresses, MTU and routes, and the files it was given; outside nothing changes', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tun-native-'))
    try {
      const [mask, out] = ['mask', 'out'].map(name => join(directory, name))
      execFileSync('mkdir', [mask])
      writeFileSync(join(mask, 'socket'), '')
      const target = join(mask, 'deep', 'er', 'resolv.conf') // behind the mask: there only inside
      const fd = openSync(out, 'w')
      open.push(fd)
      const script = `ip -o addr show tun0; ip route; ip -6 route show default; ls ${mask}; cat ${target}`
      const exit = await run(['sh', '-c', script], { stdio: [-1, fd, 2], masks: [mask], files: [target, 'ours'] })
      expect(exit).toEqual([0, -1])
      const text = readFileSync(out, 'utf8')
      for (const part of ['inet 10.9.0.1/24', 'inet6 fd00:9::1/64', 'default dev tun0 scope link', 'default dev tun0 metric 1024']) {
        expect(text).toContain(part)
      }
      expect(text).toMatch(/\ndeep\nours$/)
      expect(readdirSync(mask)).toEqual(['socket'])
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it('ends with its exit code or signal', async () => {
    expect(await run(['sh', '-c', 'exit 7'])).toEqual([7, -1])
    expect(await run(['sh', '-c', 'kill -ABRT $$'])).toEqual([-1, 6])
  })

  it('starts with no signal blocked or caught, and SIGPIPE at its default', async () => {
    const out = join(tmpdir(), `tun-signals-${process.pid}`)
    const fd = openSync(out, 'w')
    open.push(fd)
    const listener = () => {}
    process.on('SIGUSR2', listener)
    await run(['cat', '/proc/self/status'], { stdio: [-1, fd, 2] })
    process.off('SIGUSR2', listener)
    const text = readFileSync(out, 'utf8')
    rmSync(out)
    expect(text.match(/^Sig(Blk|Ign|Cgt):\t0{16}$/gm)).toHaveLength(3)
  })

  it('does not run before start(), and is gone when it is given up', () => {
    const marker = join(tmpdir(), `tun-marker-${process.pid}`)
    const child = native.isolate(request(['touch', marker]))
    open.push(child.tun)
    expect(existsSync(`/proc/${child.pid}`)).toBe(true)
    child.close()
    child.close()
    expect(existsSync(`/proc/${child.pid}`)).toBe(false)
    expect(existsSync(marker)).toBe(false)
    expect(() => child.start()).toThrow(TypeError)
    expect(() => child.kill(15)).toThrow(expect.objectContaining({ code: 'ESRCH' }))
  })

  it('is gone when it is given up, also while a later one waits', () => {
    const [first, second] = [native.isolate(request(['true'])), native.isolate(request(['true']))]
    open.push(first.tun, second.tun)
    first.close() // the second has a copy of all that this process had open when it was forked
    expect(existsSync(`/proc/${first.pid}`)).toBe(false)
    second.close()
  })

  it('finds files that may be mounted over and read by every user, whatever the umask', async () => {
    const out = join(tmpdir(), `tun-files-${process.pid}`)
    const fd = openSync(out, 'w')
    open.push(fd)
    const umask = process.umask(0o077)
    try {
      const script = 'stat -c %a /etc/hostname; mount --bind /etc/passwd /etc/hostname && echo over; umask; ls /dev/null'
      await run(['sh', '-c', script], { stdio: [-1, fd, 2], files: ['/etc/hostname', 'ours'] })
    } finally {
      process.umask(umask)
    }
    const text = readFileSync(out, 'utf8')
    rmSync(out)
    expect(text).toBe('644\nover\n0077\n/dev/null\n')
  })

  it('has what it should have as 0, 1 and 2 even if those are closed here', () => {
    const out = join(tmpdir(), `tun-closed-${process.pid}`)
    const script = `
      const { closeSync } = require('node:fs')
      const native = require(process.argv[1])
      const request = JSON.parse(process.argv[2])
      for (const fd of [0, 1]) closeSync(fd)
      const run = (stdio, out) => {
        const command = ['find', '/proc/self/fd', '-type', 'l', '-fprintf', out, '%f %l\\n']
        const child = native.isolate({ ...request, stdio, command })
        child.start() // would wait for the command's end if that had the channel
        return new Promise(resolve => child.onExit(() => resolve(child.takeExit())))
      }
      run([0, 1, 2], '${out}.1').then(() => run([0, 1, 2], '${out}.2')).then(() => run([-1, 2, -1], '${out}.3'))
    `
    const args = ['-e', script, join(import.meta.dirname, '../index.cjs'), JSON.stringify(request([]))]
    const done = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(done.status, done.stderr).toBe(0)
    const texts = [1, 2, 3].map(n => readFileSync(`${out}.${n}`, 'utf8'))
    for (const n of [1, 2, 3]) rmSync(`${out}.${n}`)
    expect(texts[0] + texts[1]).not.toMatch(/^[01] (\/dev\/net\/tun|socket:|anon_inode:)/m)
    expect(texts[2]).toMatch(/^0 \/dev\/null$/m)
    expect(texts[2]).toMatch(/^2 \/dev\/null$/m)
  })

  it('says which step failed, and leaves no process and no descriptor', () => {
    const before = descriptors()
    const fails = (command: string[], more: object, want: object) => {
      expect(() => native.isolate({ ...request(command), ...more })).toThrow(expect.objectContaining(want))
    }
    fails(['true'], { name: 'a/b' }, { code: 'EINVAL', syscall: 'TUNSETIFF', detail: 'tun' })
    fails(['true'], { mtu: 70_000 }, { code: 'EINVAL', syscall: 'SIOCSIFMTU', detail: 'network' })
    fails(['true'], { masks: ['/no/such/place'] }, { code: 'ENOENT', syscall: 'mount', detail: 'mount' })
    fails(['true'], { files: ['/no/such/place', ''] }, { code: 'ENOENT', syscall: 'mount', detail: 'mount' })
    const child = native.isolate(request(['/no/such/program']))
    closeSync(child.tun)
    expect(() => child.start()).toThrow(expect.objectContaining({ code: 'ENOENT', syscall: 'execve' }))
    expect(descriptors()).toBe(before)
    expect(readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1')).toBe('')
  })

  it('refuses arguments that C would cut short', () => {
    expect(() => native.isolate(request(['echo', 'a\0b']))).toThrow(/NUL/)
    expect(() => native.isolate(request([]))).toThrow(TypeError)
    expect(() => native.isolate({ ...request(['true']), address4: 'nonsense' })).toThrow(TypeError)
    expect(() => native.isolate({ ...request(['true']), prefix6: 129 })).toThrow(TypeError)
  })
})
