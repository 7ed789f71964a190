// Owns: createTunInbound: options are checked, the device is opened, everything is put together.

import { randomFillSync } from 'node:crypto'
import { markAsUntransferable } from 'node:worker_threads'
import { type Diagnostic, type DnsOptions, formatDiagnostic, NAMESERVER_LISTS, nameserverVia, parseDns, parseTun } from '@tun/config'
import { NetworkMonitor, openTun, type Uplink } from '@tun/device'
import { openRedis } from '@tun/dns'
import { type Device, SlabPool, Stack } from '@tun/stack'
import { isOfThisHost, localAddressError, matcher } from './address-match.js'
import { defaultMaxUdpFlows } from './descriptor-limit.js'
import { DnsSocket } from './dns-socket.js'
import { NameService } from './name-service.js'
import { isInterface, RULES } from './nameserver-ways.js'
import { checkLimits, type TunInboundOptions } from './options.js'
import { stateFile } from './state-file.js'
import { TunInbound } from './tun-inbound.js'

/**
 * Opens a TUN (or takes `device`) and answers its inbound, which emits 'connection' and 'datagram'. Attach your listeners in the same
 * tick. Keys that are unknown or not acted on are told as 'warning'.
 * @throws ConfigError ERR_TUN_CONFIG (a bad key), RangeError ERR_TUN_LIMIT, TypeError ERR_TUN_LOCAL_ADDRESS (`dns-listen`), Error
 * ERR_TUN_DNS_LISTEN (`dns.listen`), TunError (the device: `code`, `hint`), the signal's reason if it has aborted
 */
export async function createTunInbound(options: TunInboundOptions): Promise<TunInbound> {
  options.signal?.throwIfAborted()
  const limits = checkLimits(options.limits ?? {})
  const { handler, hosts, outbound, ...dnsSection } = options.dns ?? {}
  const enable = options.device === undefined && (options.tun?.enable ?? true)
  const warnings: string[] = []
  // The event says that it is a warning: the line does not.
  const onWarning = (warning: Diagnostic) => void warnings.push(formatDiagnostic({ ...warning, severity: 'error' }))
  const tun = parseTun({ ...options.tun, enable }, { onWarning })
  const dns = parseDns(dnsSection, { onWarning })
  const routed = options.device === undefined && tun['device-url']?.startsWith('dev://') === true
  const places = [tun['dns-listen'], ...tun['dns-hijack']].filter(place => place !== undefined)
  const hijacked = [...new Set(places)].map(splitHostPort)
  const dnsMatchers = hijacked.map(matcher)
  const socketAt = dns.enable && dns.listen !== undefined ? splitHostPort(dns.listen) : undefined
  const answers = hijacked.length > 0 || socketAt !== undefined
  if (!answers && handler) warnings.push("dns.handler: is never asked: add 'dns-listen' to 'tun', e.g. 0.0.0.0:53")
  if (!outbound) warnings.push(...waysNowhere(dns))
  for (const { address } of hijacked) if (routed && isOfThisHost(address)) throw localAddressError(address)
  let warn = (message: string): void => void warnings.push(message)
  const shared = answers && dns['enhanced-mode'] === 'fake-ip' && /^rediss?:\/\//.test(dns['fake-ip-store'] ?? '')
  const redis = shared ? await openRedis(dns['fake-ip-store'] as string) : undefined
  const names = new NameService(dns, {
    redis,
    handler,
    outbound,
    hosts,
    answers,
    storeFile: routed ? stateFile(`fake-ip-${tun['device-url']?.slice('dev://'.length)}`) : undefined,
    onWarning: message => warn(message),
  })
  let device: Device | undefined
  let dnsSocket: DnsSocket | undefined
  try {
    for (const { address } of hijacked) names.fakeIp?.reserve(address) // or a name would lead to the server
    dnsSocket = socketAt && (await DnsSocket.open(socketAt.address, socketAt.port, names.server))
    options.signal?.throwIfAborted()
    device = options.device ?? openDevice(tun)
    const stack = new Stack(
      {
        maxUdpFlows: defaultMaxUdpFlows(),
        ...limits,
        mtu: device.mtu,
        offload: device.offload,
        udpTimeout: tun['udp-timeout'] * 1000,
        udpFilter: tun['udp-filter'],
        multicast: tun.multicast,
      },
      { random32, slabs: new SlabPool({ onNew: slab => markAsUntransferable(slab.bytes.buffer) }) },
    )
    const inbound = new TunInbound({ device, stack, names, dnsMatchers, dnsSocket, routed, watchUplink, warnings, signal: options.signal })
    warn = message => inbound.warn(message)
    return inbound
  } catch (error) {
    dnsSocket?.close()
    names.close()
    if (options.device === undefined) device?.close() // nobody else could
    throw error
  }
}

const watchUplink = (changed: (uplink: Uplink | undefined) => void) => NetworkMonitor.open(changed)

/** Nameservers that could be asked through an outbound only, and there is none. */
function waysNowhere(dns: DnsOptions): string[] {
  const vias = NAMESERVER_LISTS.flatMap(list => dns[list].map(server => ({ list, via: nameserverVia(server) })))
  const unknown = vias.filter(({ via }) => via !== undefined && via !== RULES && via !== 'DIRECT' && !isInterface(via))
  const needed = unknown.map(
    ({ list, via }) => `dns.${list}: '#${via}' is no interface, and there is no 'dns.outbound': it cannot be asked`,
  )
  return dns['respect-rules'] ? [...needed, "dns.respect-rules: has no effect without 'dns.outbound'"] : needed
}

function openDevice(tun: ReturnType<typeof parseTun>): Device {
  const url = tun['device-url']
  if (!tun.enable || url === undefined) {
    throw Object.assign(new TypeError("nothing to open: tun.enable is false; set it and 'device-url', or give a device"), {
      code: 'ERR_TUN_DISABLED',
    })
  }
  return openTun(url, { mtu: tun.mtu, offload: tun.gso })
}

/** `0.0.0.0:53`, `[::]:53` → address and port; the config has checked the form. */
function splitHostPort(text: string): { address: string; port: number } {
  const colon = text.lastIndexOf(':')
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}

const chance = new Uint32Array(1024)
let used = chance.length

function random32(): number {
  if (used === chance.length) {
    randomFillSync(chance)
    used = 0
  }
  const word = chance[used]
  chance[used++] = 0 // a number given out is nowhere else
  return word
}
