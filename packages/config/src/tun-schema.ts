// Owns: the keys of `tun:`: types, defaults, what each does and which test shows it; those that are not acted on
// stand in tun-answers.ts.
// Names are Clash's (pull request 393's `device-url` and `dns-listen`) and mihomo's.

import { z } from 'zod'
import { honoured } from './keys.js'
import { tunAnswered } from './tun-answers.js'
import { clashBoolean, deviceUrl, hijackAddress, listenAddress } from './values.js'

export const TUN_DEFAULTS = {
  enable: false,
  gso: true,
  'udp-timeout': 300,
  'udp-filter': 'endpoint-independent',
  multicast: false,
} as const

const CONFIGURED = 'packages/inbound/src/configured.test.ts'
const HIJACK = 'packages/inbound/src/dns-hijack.test.ts'
const PACKETS = 'packages/inbound/src/pings-and-packets.test.ts'
const FILTER = "'udp-filter' keeps strangers out of flow.send and reply, and lets the destination itself answer"

/** What @tun/inbound does. */
export const tunHonoured = {
  enable: honoured(clashBoolean.default(TUN_DEFAULTS.enable), 'Open the TUN.', [CONFIGURED, 'enable: false opens nothing']),
  'device-url': honoured(
    deviceUrl.meta({ pattern: '^(dev://[^\\s/:%]{1,15}(%d)?|fd://[0-9]+)$', examples: ['dev://tun0', 'fd://5'] }).optional(),
    '`dev://NAME`: the interface, made if missing. `fd://N`: an open TUN or datagram socket.',
    [CONFIGURED, 'device-url, mtu and gso: the device is opened with them'],
  ),
  'dns-listen': honoured(listenAddress.optional(), 'DNS to this address on the TUN is answered here; `0.0.0.0:53`: to any address.', [
    HIJACK,
    'any address at that port is answered, in both families, and makes no flow',
  ]),
  'dns-hijack': honoured(
    z.array(hijackAddress).default([]),
    'DNS to these addresses on the TUN is answered here, UDP and TCP: `any:53`, `ADDRESS:PORT`.',
    [HIJACK, 'dns-hijack: each of its places is answered, over UDP and TCP, and no other'],
  ),
  mtu: honoured(z.int().min(576).max(65535).optional(), "Bytes of the largest packet; the interface's own if left out.", [
    CONFIGURED,
    'device-url, mtu and gso: the device is opened with them',
  ]),
  gso: honoured(clashBoolean.default(TUN_DEFAULTS.gso), 'Segmentation offload; `false`: a plain TUN without virtio-net header.', [
    CONFIGURED,
    'device-url, mtu and gso: the device is opened with them',
  ]),
  'udp-timeout': honoured(
    z.int().min(1).max(86400).default(TUN_DEFAULTS['udp-timeout']),
    'Seconds without a datagram after which a UDP flow ends.',
    [CONFIGURED, 'udp-timeout: a flow without traffic ends after so many seconds'],
  ),
  'endpoint-independent-nat': honoured(
    clashBoolean.optional(),
    'mihomo: `false` is `udp-filter: address-and-port-dependent`, `true` is `endpoint-independent`.',
    [PACKETS, FILTER],
  ),
  'udp-filter': honoured(
    z.enum(['endpoint-independent', 'address-dependent', 'address-and-port-dependent']).default(TUN_DEFAULTS['udp-filter']),
    'Whose datagrams reach an application: anybody’s, of addresses it wrote to, of those addresses and ports.',
    [PACKETS, FILTER],
  ),
  multicast: honoured(
    clashBoolean.default(TUN_DEFAULTS.multicast),
    'Take in what goes to multicast, broadcast (UDP) and link-local addresses; `false`: it is dropped.',
    [PACKETS, 'to a multicast address reaches nobody, or with the option a listener, who answers with an address of his own'],
  ),
}

/** Other names for `device-url`. */
export const tunSynonyms = {
  device: honoured(z.string().optional(), 'mihomo: `NAME` is `device-url: dev://NAME`.', [
    'packages/config/src/tun.test.ts',
    "mihomo's 'device' and 'file-descriptor' are our 'device-url'",
  ]),
  'file-descriptor': honoured(z.int().min(0).max(0x7fffffff).optional(), 'mihomo: `N` is `device-url: fd://N`; 0: none.', [
    'packages/config/src/tun.test.ts',
    "mihomo's 'device' and 'file-descriptor' are our 'device-url'",
  ]),
}

/** Every key of the section. */
export const tunSchema = z.object({ ...tunHonoured, ...tunSynonyms, ...tunAnswered })
/** What is left of a section that was read: the keys that are acted on. */
export const tunOptionsSchema = z.object(tunHonoured)
export type TunOptions = z.output<typeof tunOptionsSchema>
/** What may be written. */
export type TunInput = z.input<typeof tunSchema>
