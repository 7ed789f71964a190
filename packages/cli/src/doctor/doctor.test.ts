import { TunError } from '@tun/device'
import { describe, expect, it } from 'vitest'
import { describe as describeReport, examine } from './doctor.js'
import type { Machine } from './machine.js'

interface Other extends Partial<Omit<Machine, 'stat' | 'read' | 'list' | 'link'>> {
  files?: Record<string, string | undefined>
  links?: Record<string, string>
  node_?: { mode: number; uid: number; device: [number, number] } | null
}

const ROOT_CAPS = '000001ffffffffff'
const FILES: Record<string, string> = {
  '/proc/self/status': 'Name:\tnode\nCapEff:\t0000000000000000\n',
  '/proc/self/uid_map': '         0          0 4294967295\n',
  '/proc/self/maps':
    '7f00-7f01 r-xp 00000000 08:01 42 /lib/libc.so.6\n7f02-7f03 r-xp 00000000 08:01 43     /app/native/build/Release/tun_native.node\n',
  '/proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units\nMax open files            65536    65536    files\n',
  '/proc/self/net/dev': 'Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 1 2\n',
  '/proc/sys/user/max_user_namespaces': '96365',
  '/proc/sys/net/ipv4/conf/all/rp_filter': '0',
  '/proc/sys/net/ipv4/conf/default/rp_filter': '0',
  '/proc/sys/net/ipv6/conf/all/disable_ipv6': '0',
  '/proc/sys/net/ipv6/conf/default/disable_ipv6': '0',
  '/proc/sys/net/ipv4/ip_forward': '0',
  '/proc/sys/net/ipv4/ping_group_range': '0\t2147483647',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999',
  '/proc/sys/net/ipv4/ip_unprivileged_port_start': '1024',
  '/etc/resolv.conf': 'nameserver 192.0.2.53\n',
}
const ALL = { vnetHeader: true, checksum: true, tso4: true, tso6: true, uso: true }
const missing = (path: string) => Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })

/** An ordinary user's machine on which all is well, but for what `other` says. A directory is what its files' names begin with. */
function machine({ files, links = {}, node_, ...other }: Other = {}): Machine {
  const all: Record<string, string | undefined> = { ...FILES, ...files }
  return {
    platform: 'linux',
    release: '6.8.0-40-generic',
    node: '20.19.1',
    env: {},
    home: '/home/alice',
    uid: 1000,
    groups: [1000],
    read: path => {
      const text = all[path]
      if (text === undefined) throw missing(path)
      return text
    },
    list: path => {
      const within = [...Object.keys(all), ...Object.keys(links)].filter(name => name.startsWith(`${path}/`))
      if (within.length === 0) throw missing(path)
      return [...new Set(within.map(name => name.slice(path.length + 1).split('/')[0]))]
    },
    link: path => {
      if (!(path in links)) throw missing(path)
      return links[path]
    },
    stat: path => {
      if (node_ === null) throw missing(path)
      return node_ ?? { mode: 0o020666, uid: 0, device: [10, 200] }
    },
    tryOpen: () => {},
    loadAddon: () => {},
    tryTun: () => ALL,
    ...other,
  }
}

const find = (id: string, other: Other = {}, config?: string) => examine(machine(other), config).checks.find(check => check.id === id)
const root = { '/proc/self/status': `CapEff:\t${ROOT_CAPS}\n` }
const nic = (name: string, facts: { tun_flags?: string; flags?: string; carrier?: string; owner?: string }) => ({
  '/proc/self/net/dev': `${FILES['/proc/self/net/dev']}  ${name}: 0 0\n`,
  ...Object.fromEntries(
    Object.entries({ tun_flags: '0x1001', flags: '0x1', owner: '-1', ...facts }).map(([key, value]) => [
      `/sys/class/net/${name}/${key}`,
      value,
    ]),
  ),
})

describe('tun doctor', () => {
  it('asks the same things in the same order on every machine: ids are an interface', () => {
    const ids = (m: Machine, config?: string) => examine(m, config).checks.map(({ id }) => id)
    const always = [
      ...['system', 'node', 'addon', 'device-node', 'capabilities', 'user-namespaces', 'isolation', 'offload'],
      ...['rp-filter', 'ipv6', 'forwarding', 'resolver', 'ping-group-range', 'descriptors', 'port-range'],
      ...['nics', 'locks', 'namespaces'],
    ]
    expect(ids(machine())).toEqual(always)
    const bare = machine({ files: Object.fromEntries(Object.keys(FILES).map(key => [key, undefined])), node_: null })
    expect(ids(bare)).toEqual(always)
    expect(ids(machine(), 'c.yaml')).toEqual([...always, 'config', 'device', 'dns-listen'])
  })

  it('finds an ordinary user’s machine fit, with a word about what only root may', () => {
    const report = examine(machine())
    expect(report).toMatchObject({ version: 1, ok: true, counts: { fail: 0, warn: 1, unknown: 0 } })
    expect(report.checks.filter(({ status }) => status === 'warn').map(({ id }) => id)).toEqual(['capabilities'])
    expect(find('addon')).toMatchObject({ found: 'built here: /app/native/build/Release/tun_native.node' })
  })

  it('never fails itself: what a check cannot stand is unknown, and the others are told', () => {
    const report = examine(machine({ files: { '/proc/self/status': 'CapEff:\tff' }, env: { STATE_DIRECTORY: 3 as unknown as string } }))
    expect(report.checks.find(({ id }) => id === 'locks')).toMatchObject({
      status: 'unknown',
      found: expect.stringMatching(/check failed/),
    })
    expect(report.checks).toHaveLength(18)
  })

  it('does not call a machine fit where only NICs of its own network can be made', () => {
    const last = (other: Other) =>
      describeReport(examine(machine(other)))
        .split('\n')
        .at(-1)
    expect(last({})).toBe('1 warn, 17 ok: tun can work here')
    expect(last({ tryTun: refused, files: root })).toMatch(/ ok: a TUN can be made here, but tun exec cannot work$/)
    expect(last({ tryTun: refused })).toMatch(/^1 fail, .* ok$/)
  })

  const cases: [string, Other, string, string, string | undefined][] = [
    ['device-node', { node_: null }, 'fail', 'is missing', 'sudo modprobe tun'],
    [
      'device-node',
      { node_: { mode: 0o100644, uid: 0, device: [0, 0] } },
      'fail',
      'not the TUN device',
      'mknod -m 0666 /dev/net/tun c 10 200',
    ],
    ['device-node', { tryOpen: () => void raise('EACCES') }, 'fail', 'by this user (mode 0666)', 'sudo chmod 0666 /dev/net/tun'],
    ['device-node', { node_: { mode: 0o020000, uid: 0, device: [10, 200] } }, 'ok', 'mode 0000', undefined],
    ['device-node', { tryOpen: () => void raise('EPERM') }, 'fail', 'not permitted', '--device /dev/net/tun'],
    ['capabilities', { files: root }, 'ok', 'cap_net_admin', undefined],
    ['capabilities', { files: { ...root, '/proc/self/uid_map': '0 1000 1' } }, 'ok', 'within this user namespace only', undefined],
    ['user-namespaces', { files: { '/proc/sys/user/max_user_namespaces': '0' } }, 'fail', 'switched off', 'user.max_user_namespaces=15000'],
    ['user-namespaces', { files: { '/proc/sys/kernel/unprivileged_userns_clone': '0' } }, 'fail', 'root only', 'userns_clone=1'],
    ['user-namespaces', { files: { '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1' } }, 'warn', 'AppArmor', 'userns=0'],
    ['user-namespaces', { uid: 0, files: { ...root, '/proc/sys/user/max_user_namespaces': '0' } }, 'ok', 'root needs none', undefined],
    [
      'user-namespaces', // root of a container with cap_sys_admin, but not cap_net_admin
      { uid: 0, files: { '/proc/self/status': 'CapEff:\t0000000000200000\n', '/proc/sys/user/max_user_namespaces': '0' } },
      'fail',
      'switched off',
      'user.max_user_namespaces=15000',
    ],
    ['isolation', { tryTun: refused }, 'fail', 'tun exec cannot work: it is off', 'sudo switch on'],
    ['isolation', { tryTun: refused, files: root }, 'warn', 'it is off', 'sudo switch on'],
    ['offload', { tryTun: refused }, 'unknown', 'see isolation', undefined],
    ['offload', { tryTun: () => ({ ...ALL, uso: false }) }, 'warn', 'TSO6, no USO: it came with Linux 6.2', undefined],
    ['offload', {}, 'ok', 'checksums, TSO4, TSO6, USO', undefined],
    ['system', { release: '4.19.0' }, 'fail', '5.3 or later', 'use a kernel'],
    ['system', { platform: 'darwin' }, 'fail', 'Linux only', undefined],
    ['node', { node: '18.20.1' }, 'fail', 'too old', 'install Node'],
    [
      'addon',
      { loadAddon: () => void raise('x', 'install a C++ compiler, then: node install.mjs') },
      'fail',
      'x',
      'then: node install.mjs',
    ],
    ['rp-filter', { files: { '/proc/sys/net/ipv4/conf/all/rp_filter': '1' } }, 'warn', 'strict for new NICs', 'all.rp_filter=2'],
    ['rp-filter', { files: { '/proc/sys/net/ipv4/conf/default/rp_filter': '1' } }, 'warn', 'strict for new NICs', 'all.rp_filter=2'],
    ['rp-filter', { files: { '/proc/sys/net/ipv4/conf/all/rp_filter': '2' } }, 'ok', 'loose', undefined],
    [
      'ipv6',
      { files: { '/proc/sys/net/ipv6/conf/default/disable_ipv6': '1' } },
      'warn',
      'conf.default',
      'net.ipv6.conf.default.disable_ipv6=0',
    ],
    ['ipv6', { files: { '/proc/sys/net/ipv6/conf/all/disable_ipv6': undefined } }, 'warn', 'no IPv6', undefined],
    ['forwarding', { files: { '/proc/sys/net/ipv4/ip_forward': '1' } }, 'ok', 'off for IPv6', undefined],
    ['resolver', { files: { '/etc/resolv.conf': 'nameserver 127.0.0.53\n' } }, 'warn', 'systemd-resolved', "resolvectl domain tun0 '~.'"],
    [
      'resolver',
      { files: { '/etc/nsswitch.conf': 'hosts: mymachines resolve [!UNAVAIL=return] files dns' } },
      'warn',
      'asks mymachines, resolve',
      'resolvectl',
    ],
    ['resolver', { files: { '/etc/nsswitch.conf': 'hosts: files mdns4_minimal [NOTFOUND=return] dns' } }, 'ok', 'mdns4_minimal', undefined],
    ['resolver', { files: { '/etc/resolv.conf': undefined } }, 'warn', 'missing', 'touch /etc/resolv.conf'],
    [
      'ping-group-range',
      { files: { '/proc/sys/net/ipv4/ping_group_range': '1\t0' } },
      'warn',
      'nobody may',
      'ping_group_range="0 2147483647"',
    ],
    ['ping-group-range', { files: { ...root, '/proc/sys/net/ipv4/ping_group_range': '1 0' } }, 'ok', 'has cap_net_raw', undefined],
    ['ping-group-range', { groups: [5, 27], files: { '/proc/sys/net/ipv4/ping_group_range': '27 27' } }, 'ok', '27 to 27', undefined],
    ['descriptors', { files: { '/proc/self/limits': 'Max open files   1024   4096   files' } }, 'warn', 'at most 512 UDP flows', 'prlimit'],
    [
      'port-range',
      { files: { '/proc/sys/net/ipv4/ip_local_port_range': '50000 50999' } },
      'warn',
      '1000 connections',
      'ip_local_port_range=',
    ],
    ['nics', {}, 'ok', 'no TUN here', undefined],
    [
      'nics',
      { files: nic('tun0', { tun_flags: '0x1801', carrier: '0', owner: '1000' }) },
      'warn',
      'tun0: up, kept for user 1000, nobody serves it. What is routed into tun0 is lost',
      'ip link delete tun0',
    ],
    ['nics', { files: nic('tun0', { flags: '0x0', tun_flags: '0x1801' }) }, 'ok', 'tun0: down, kept for root, nobody is seen', undefined],
    ['nics', { files: nic('tun0', { carrier: '1' }) }, 'ok', 'served by a process of somebody else', undefined],
    [
      'locks',
      { env: { XDG_STATE_HOME: '/s' }, files: { '/s/tun/fake-ip.lock': '77 9\n' } },
      'warn',
      '/s/tun/fake-ip.lock',
      'rm /s/tun/fake-ip.lock',
    ],
    [
      'locks',
      { env: { XDG_STATE_HOME: '/s' }, files: { '/s/tun/x.lock': '77 9\n', '/proc/77/stat': stat('S', 9) } },
      'ok',
      'pid 77',
      undefined,
    ],
    [
      'locks',
      { env: { XDG_STATE_HOME: '/s' }, files: { '/s/tun/x.lock': '77 9\n', '/proc/77/stat': stat('S', 10) } },
      'warn',
      'x.lock',
      'rm',
    ],
    ['locks', { env: { STATE_DIRECTORY: "/it's" }, files: { "/it's/x.lock": '77 9' } }, 'warn', 'x.lock', "rm '/it'\\''s/x.lock'"],
    ['locks', { env: { XDG_STATE_HOME: '/s' }, files: { '/s/tun/yarn.lock': 'yarn' } }, 'ok', 'none', undefined],
    [
      'namespaces',
      { files: { '/run/netns/tunlab-5-1-apps': '', '/run/netns/other': '' } },
      'warn',
      'tunlab-5-1-apps',
      'ip netns delete tunlab-5-1-apps',
    ],
    ['namespaces', { files: { '/run/netns/tunlab-5-1-apps': '', '/proc/5/stat': stat('S', 1) } }, 'ok', 'in use', undefined],
    ['namespaces', { files: { '/run/netns/tunlab-5-1-apps': '', '/proc/5/stat': stat('Z', 1) } }, 'warn', 'left', 'delete'],
  ]
  const named = cases.map(([id, other, status, found, fix]) => [id, status, found, fix, other] as const)
  it.each(named)('%s is %s: %s', (id, status, found, fix, other) => {
    const finding = find(id, other)
    expect(finding).toMatchObject({ status, found: expect.stringContaining(found) })
    if (fix === undefined) expect(finding?.fix).toBeUndefined()
    else expect(finding?.fix).toContain(fix)
  })

  describe('--config', () => {
    const yaml = (text: string) => ({ '/c.yaml': `tun:\n  enable: true\n  device-url: dev://tun0\n${text}` })
    const busy = {
      files: {
        ...yaml(''),
        ...nic('tun0', { carrier: '1' }),
        '/proc/41/fdinfo/7': 'pos:\t0\niff:\ttun0\n',
        '/proc/41/comm': 'clash\n',
        '/proc/42/fdinfo/7': 'iff:\ttun01\n',
      },
      links: { '/proc/41/fd/7': '/dev/net/tun', '/proc/42/fd/7': '/dev/net/tun', '/proc/41/fd/8': '/dev/null' },
    }
    it.each<[string, string, Other, string, string, string | undefined]>([
      ['config', 'a file that is not there', {}, 'fail', 'cannot be read (ENOENT)', undefined],
      ['config', 'a bad file', { files: { '/c.yaml': 'tun: 5' } }, 'fail', '/c.yaml:1:', undefined],
      ['device', 'a bad file', { files: { '/c.yaml': 'tun: 5' } }, 'unknown', 'see config', undefined],
      [
        'device',
        'none, and no right to make it',
        { files: yaml('') },
        'fail',
        'may not make it',
        'ip tuntap add dev tun0 mode tun user $USER',
      ],
      ['device', 'none, as root', { files: { ...yaml(''), ...root } }, 'ok', 'will be made', undefined],
      ['device', 'busy', busy, 'fail', 'tun0 is busy: clash (pid 41) serves it', 'kill 41'],
      [
        'device',
        'another’s',
        { files: { ...yaml(''), ...nic('tun0', { carrier: '0', owner: '7' }) } },
        'fail',
        'belongs to user 7',
        'ip link delete',
      ],
      ['device', 'ours', { files: { ...yaml(''), ...nic('tun0', { carrier: '0', owner: '1000' }) } }, 'ok', 'free', undefined],
      [
        'device',
        'ours, down',
        { files: { ...yaml(''), ...nic('tun0', { flags: '0x0', owner: '1000' }) } },
        'warn',
        'down',
        'link set tun0 up',
      ],
      ['device', 'no TUN', { files: { ...yaml(''), ...nic('tun0', { tun_flags: '0' }) } }, 'fail', 'not a TUN', 'another name'],
      ['device', 'a TAP', { files: { ...yaml(''), ...nic('tun0', { tun_flags: '0x1002' }) } }, 'fail', 'TAP', 'ip link delete tun0'],
      [
        'dns-listen',
        'a port for root',
        { files: yaml('dns: {enable: true, listen: "127.0.0.1:53"}') },
        'fail',
        'below 1024',
        'port_start=53',
      ],
      [
        'dns-listen',
        'a port in use',
        {
          files: { ...yaml('dns: {enable: true, listen: "127.0.0.1:5353"}'), '/proc/self/net/udp': ' 1: 0100007F:14E9 00000000:0000 07 0' },
        },
        'warn',
        'in use (udp)',
        'sport = :5353',
      ],
    ])('%s: %s', (id, _, other, status, found, fix) => {
      const finding = find(id, other, '/c.yaml')
      expect(finding).toMatchObject({ status, found: expect.stringContaining(found) })
      if (fix === undefined) expect(finding?.fix).toBeUndefined()
      else expect(finding?.fix).toContain(fix)
    })
  })

  it('prints a line for each check, and its cure below it', () => {
    const text = describeReport({
      version: 1,
      ok: false,
      counts: { ok: 1, warn: 0, fail: 1, unknown: 0 },
      checks: [
        { id: 'node', status: 'ok', found: 'Node 20' },
        { id: 'device-node', status: 'fail', found: 'missing', fix: 'sudo modprobe tun' },
      ],
    })
    expect(text.split('\n')).toEqual([
      'ok       node         Node 20',
      'fail     device-node  missing',
      '                      → sudo modprobe tun',
      '',
      '1 fail, 1 ok',
    ])
  })
})

function raise(code: string, hint?: string): never {
  throw Object.assign(new Error(hint === undefined ? code : `${code}; ${hint}`), { code, hint })
}

function refused(): never {
  throw new TunError('ERR_TUN_NAMESPACES', 'it is off', { hint: 'run: sudo switch on' })
}

function stat(state: string, start: number): string {
  return `77 (no de) ${state} ${Array.from({ length: 18 }, () => 1).join(' ')} ${start} 1`
}
