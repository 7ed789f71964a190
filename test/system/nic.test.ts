// What the kernel tells of the NIC and of the machine's own way out while an inbound runs: down and up, another MTU, another name, another
// uplink. Netlink brings it; nothing asks.

import { expect, it } from 'vitest'
import { Lab, type Namespace, type Program } from '../../scripts/lab/lab.mjs'
import { programPath } from './namespace.js'
import { PORTS } from './programs/ports.mjs'
import { describeSystem, ROOT } from './requirements.js'

const TUN = 'tun0'
const APP = '198.18.0.1'
const FAR = '198.18.0.2'

async function running(tun: object, prepare: (namespace: Namespace) => void = () => {}) {
  const lab = new Lab()
  const namespace = lab.namespace('nic')
  prepare(namespace)
  const setting = { tun: { 'device-url': `dev://${TUN}`, ...tun } }
  const host = namespace.start(process.execPath, [programPath('inbound-host'), JSON.stringify(setting)])
  await host.waitFor(/^listening/)
  return { namespace, host, [Symbol.dispose]: () => lab.close() }
}

async function state(host: Program): Promise<{ mtu: number; uplink: object | null; cpu: number; switches: number }> {
  const before = host.lines.length
  host.child.stdin!.write('"state"\n')
  await host.waitFor(/^state/)
  const line = host.lines.slice(before).find(text => text.startsWith('state')) ?? (await host.waitFor(/^state/))
  host.lines.splice(0, host.lines.length)
  return JSON.parse(line.slice(6))
}

/** What the kernel thinks that it may send in one segment, on a connection which it has just opened to us: our SYN-ACK told it. */
async function mssOf(namespace: Namespace): Promise<number> {
  const program = `
    const socket = require('net').connect({ host: '${FAR}', port: ${PORTS.echo}, localAddress: '${APP}' }, () => socket.write('x'))
    socket.on('data', () => {
      console.log(require('child_process').execFileSync('ss', ['-tinH', 'dst', '${FAR}']).toString())
      socket.destroy()
    })`
  const { stdout } = await namespace.run(process.execPath, ['-e', program])
  return Number(/ mss:(\d+)/.exec(stdout.toString())?.[1])
}

describeSystem('a NIC that changes', { lab: true, peers: ['ip'], built: [`${ROOT}packages/inbound/dist/index.js`] }, () => {
  it('down: a warning with the command, without a packet having to be lost; up: traffic flows, and it says so', async () => {
    using world = await running({})
    const { namespace, host } = world
    namespace.address(`${APP}/30`, TUN)
    expect(await mssOf(namespace)).toBeGreaterThan(0)
    namespace.ip('link', 'set', TUN, 'down')
    expect(await host.waitFor(/^warning/)).toBe(`warning ${TUN} is down: 'ip link set ${TUN} up' brings it back`)
    namespace.ip('link', 'set', TUN, 'up')
    await host.waitFor(new RegExp(`^warning ${TUN} is up$`))
    namespace.address(`${APP}/30`, TUN)
    expect(await mssOf(namespace)).toBeGreaterThan(0)
    expect(host.lines.filter(line => /^(error|close)/.test(line))).toEqual([])
  })

  it('one we make holds 4,096 packets for us, so that bulk does not push out what begins beside it; one that was there keeps its own', async () => {
    const lengthIn = async (namespace: Namespace) =>
      (JSON.parse((await namespace.run('ip', ['-j', 'link', 'show', TUN])).stdout.toString()) as [{ txqlen: number }])[0].txqlen
    {
      using world = await running({})
      expect(await lengthIn(world.namespace)).toBe(4096)
    }
    using world = await running({}, namespace => {
      namespace.ip('tuntap', 'add', 'dev', TUN, 'mode', 'tun')
      namespace.ip('link', 'set', TUN, 'txqueuelen', '777')
    })
    expect(await lengthIn(world.namespace)).toBe(777)
  })

  it('its MTU changes: the next SYN-ACK has another MSS', async () => {
    using world = await running({ mtu: 1300 })
    const { namespace, host } = world
    namespace.address(`${APP}/30`, TUN)
    const small = await mssOf(namespace)
    expect(small).toBeLessThanOrEqual(1260)
    namespace.ip('link', 'set', TUN, 'mtu', '1500')
    await expect.poll(async () => (await state(host)).mtu, { timeout: 10_000 }).toBe(1500)
    expect(await mssOf(namespace)).toBe(small + 200)
  })

  it('another name: it is the same NIC, whose changes are followed', async () => {
    using world = await running({})
    const { namespace, host } = world
    namespace.ip('link', 'set', TUN, 'down')
    await host.waitFor(/ is down/)
    namespace.ip('link', 'set', TUN, 'name', 'other0')
    namespace.ip('link', 'set', 'other0', 'up')
    await host.waitFor(/^warning other0 is up$/)
  })

  it('nothing happens: nothing is asked, the process sleeps', async () => {
    using world = await running({})
    const before = await state(world.host)
    await new Promise(resolve => setTimeout(resolve, 2000))
    const after = await state(world.host)
    expect(after.switches - before.switches).toBeLessThan(40) // a poll each 50 ms would be as many
  })

  it('deleted: an error, and the end, without a spin', async () => {
    using world = await running({})
    world.namespace.ip('link', 'del', TUN)
    expect(await world.host.waitFor(/^error/)).toBe(`error ${TUN}: the NIC was deleted`)
    await world.host.waitFor(/^close$/)
    const before = await state(world.host)
    await new Promise(resolve => setTimeout(resolve, 500))
    expect((await state(world.host)).cpu - before.cpu).toBeLessThan(250_000) // µs of 500,000: a spin takes all
  })

  it('the uplink: another default route, another address of it, none; the TUN itself never', async () => {
    const prepare = (namespace: Namespace) => {
      for (const [name, address] of [
        ['wire0', '192.0.2.7/24'],
        ['wire1', '203.0.113.7/24'],
      ]) {
        namespace.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-far`)
        namespace.ip('link', 'set', name, 'up')
        namespace.ip('link', 'set', `${name}-far`, 'up')
        namespace.address(address, name)
      }
      namespace.address('2001:db8::7/64', 'wire1')
      namespace.ip('route', 'add', 'default', 'via', '192.0.2.1', 'metric', '100')
    }
    using world = await running({}, prepare)
    const { namespace, host } = world
    const is = async (uplink: object | null) => {
      await expect.poll(async () => (await state(host)).uplink, { timeout: 10_000 }).toEqual(uplink)
    }
    await is({ interface: 'wire0', localAddress4: '192.0.2.7' })
    namespace.address(`${APP}/30`, TUN)
    namespace.ip('route', 'add', 'default', 'dev', TUN)
    namespace.ip('route', 'add', 'default', 'via', '203.0.113.1', 'metric', '50')
    await is({ interface: 'wire1', localAddress4: '203.0.113.7' })
    namespace.ip('-6', 'route', 'add', 'default', 'via', '2001:db8::1')
    await is({ interface: 'wire1', localAddress4: '203.0.113.7', localAddress6: '2001:db8::7' })
    namespace.ip('link', 'set', 'wire1', 'down') // of whose IPv4 route nothing is told
    await is({ interface: 'wire0', localAddress4: '192.0.2.7' })
    namespace.ip('address', 'add', '192.0.2.8/24', 'dev', 'wire0')
    namespace.sysctl('net.ipv4.conf.wire0.promote_secondaries', 1)
    namespace.ip('address', 'del', '192.0.2.7/24', 'dev', 'wire0')
    await expect
      .poll(async () => (await state(host)).uplink, { timeout: 10_000 })
      .toSatisfy(uplink => uplink === null || (uplink as { localAddress4: string }).localAddress4 === '192.0.2.8')
    namespace.ip('link', 'del', 'wire0')
    await is(null)
  })
})
