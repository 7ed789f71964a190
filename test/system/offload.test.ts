// Random combinations of what a NIC offloads, on a real TUN, between our stack and the kernel's TCP and UDP. The engine alone, over memory,
// in many more of them: packages/stack/src/offload.test.ts.

import { Prng } from '@tun/stack/testing'
import { expect, it, onTestFinished } from 'vitest'
import { Lab, until } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { programPath } from './namespace.js'
import { patternHash } from './programs/pattern.mjs'
import { DEVICE, describeSystem } from './requirements.js'

const NIC = 'tun0'
const WORLDS = Number(process.env.TUN_SEEDS ?? 6)
const FIRST_SEED = Number(process.env.TUN_FIRST_SEED ?? 1)
const BYTES = 12_000_000
const FAMILIES = {
  IPv4: { kernel: '198.18.0.1', stack: '198.51.100.1' },
  IPv6: { kernel: 'fd00:198:18::1', stack: '2001:db8:2::1' },
}

/** What a seed stands for. */
function draw(seed: number) {
  const prng = new Prng(seed * 7919)
  const pick = <T>(list: readonly T[]) => list[prng.below(list.length)]
  return {
    /** Bytes of the virtio-net header somebody else has set; 0: none; undefined: we open the NIC ourselves. */
    header: pick([undefined, undefined, 0, 10, 12, 20, 64]),
    /** What we ask the NIC for, and whether our stack leaves segmentation to it. */
    offload: prng.chance(0.75),
    cut: prng.chance(0.3),
    mtu: pick([1280, 1500, 1500, 1500, 9000, 65_535]),
    /** What the kernel's side makes use of. */
    features: { txcsum: prng.chance(0.7), sg: prng.chance(0.8), tso: prng.chance(0.7), gso: prng.chance(0.8) },
    gsoMax: pick([undefined, undefined, 8000, 30_000]),
    ecn: pick([0, 1]),
    stack: { prediction: prng.chance(0.5), sack: prng.chance(0.7), congestion: pick(['cubic', 'newreno'] as const) },
  }
}

async function world(seed: number) {
  const { header, offload, cut, mtu, features, gsoMax, ecn, stack } = draw(seed)
  const lab = new Lab()
  onTestFinished(() => lab.close())
  const kernel = lab.namespace('kernel')
  kernel.sysctl('net.ipv4.tcp_ecn', ecn)
  const python = findBinary('python3')!
  const nic = programPath('offload-nic.py')
  const device = header === undefined ? `dev://${NIC}` : 'fd://9'
  const command = [process.execPath, programPath('stack-host'), JSON.stringify({ device, offload, cut, mtu, stack })]
  const [program, ...args] = header === undefined ? command : [python, nic, 'open', NIC, String(header), ...command]
  const host = kernel.start(program, args)
  await host.waitFor(/^listening/)
  const set = Object.entries(features).map(([name, on]) => `${name}=${on ? 1 : 0}`)
  const done = await kernel.run(python, [nic, 'features', NIC, ...set])
  if (done.code !== 0) throw new Error(done.stderr)
  if (gsoMax !== undefined) kernel.ip('link', 'set', NIC, 'gso_max_size', String(gsoMax))
  kernel.ip('link', 'set', NIC, 'mtu', String(mtu), 'up')
  kernel.address('198.18.0.1/24', NIC)
  kernel.address('fd00:198:18::1/64', NIC)
  kernel.ip('route', 'add', '198.51.100.0/24', 'dev', NIC)
  kernel.ip('-6', 'route', 'add', '2001:db8:2::/64', 'dev', NIC)
  const server = kernel.start(process.execPath, [programPath('tcp-server'), FAMILIES.IPv4.kernel, FAMILIES.IPv6.kernel])
  await server.waitFor(/^listening/)
  return {
    async fromKernel<T>(name: string, request: object): Promise<T> {
      const { code, signal, stdout, stderr } = await kernel.run(process.execPath, [programPath(name), JSON.stringify(request)])
      if (code !== 0 || stdout.length === 0) throw new Error(`${name} ended with ${code ?? signal}: ${stderr}`)
      return JSON.parse(stdout.toString()) as T
    },
    async fromUs<T>(request: { op: string }): Promise<T> {
      const answer = `${request.op} {`
      host.lines = host.lines.filter(line => !line.startsWith(answer))
      host.child.stdin!.write(`${JSON.stringify(request)}\n`)
      await until(`the answer to ${request.op}`, 30_000, () => host.lines.some(line => line.startsWith(answer)))
      return JSON.parse(host.lines.find(line => line.startsWith(answer))!.slice(request.op.length)) as T
    },
    /** Packets whose checksum the kernel found to be wrong: proc_net(5). */
    async checksumErrors(): Promise<number> {
      const { stdout } = await kernel.run('cat', ['/proc/net/snmp', '/proc/net/snmp6'])
      const text = stdout.toString()
      const v6 = [...text.matchAll(/InCsumErrors\s+(\d+)$/gm)].map(match => Number(match[1]))
      const v4 = ['Tcp', 'Udp'].map(name => {
        const [titles, values] = [...text.matchAll(new RegExp(`^${name}: (.*)$`, 'gm'))].map(match => match[1].split(' '))
        return Number(values[titles.indexOf('InCsumErrors')])
      })
      return [...v4, ...v6].reduce((sum, n) => sum + n, 0)
    },
  }
}

describeSystem('offload on a real TUN, drawn at random', { lab: true, built: [DEVICE], peers: ['python3'] }, () => {
  const seeds = Array.from({ length: WORLDS }, (_, i) => FIRST_SEED + i).map(seed => [seed, JSON.stringify(draw(seed))] as const)

  it.each(seeds)(
    'TUN_FIRST_SEED=%i, %s: every byte arrives both ways, no checksum is wrong, every row is accounted for',
    async seed => {
      const { fromKernel, fromUs, checksumErrors } = await world(seed)
      const right = { bytes: BYTES, sha: patternHash(BYTES) }
      for (const { kernel, stack } of Object.values(FAMILIES)) {
        for (const op of ['upload', 'download']) {
          expect(await fromKernel('tcp-client', { op, host: stack, from: kernel, bytes: BYTES }), op).toMatchObject(right)
          expect(await fromUs({ op, host: kernel, from: stack, bytes: BYTES } as { op: string }), op).toMatchObject(right)
        }
        const trains = { host: stack, from: kernel, offload: seed % 2 === 0, bursts: 24 }
        const { sent, back } = await fromKernel<{ sent: number; back: number }>('udp-trains', trains)
        expect(back).toBe(sent)
      }
      expect(await checksumErrors()).toBe(0)
      const { stats } = await fromUs<{ stats: Record<string, number> }>({ op: 'state' })
      expect(stats.accounted).toBe(stats.rowsIn)
      // Rows are as long as both sides may make them. Without a virtio-net header ours are cut and joined by the addon, whole as well.
      const { header, offload, cut, mtu, features } = draw(seed)
      const vnet = offload && header !== 0
      const [perRowIn, perRowOut] = [stats.bytesIn / stats.rowsIn, stats.bytesOut / stats.rowsOut]
      if (cut) expect(perRowOut).toBeLessThanOrEqual(mtu)
      if (mtu < 5000 && vnet && Object.values(features).every(on => on)) expect(perRowIn).toBeGreaterThan(mtu)
      if (mtu < 5000 && vnet && !cut) expect(perRowOut).toBeGreaterThan(mtu)
      expect(stats.drops).toMatchObject({ deviceRow: 0, tcpChecksum: 0, udpChecksum: 0, ipChecksum: 0, tcpMalformed: 0, udpMalformed: 0 })
    },
    120_000,
  )
})
