// Owns: what no key alone can say: addresses that are there for two things at once.

import { formatAddress, hasHostBits, holds, overlaps, parseCidr } from './cidr.js'
import type { Report } from './diagnostics.js'
import { type DnsOptions, NAMESERVER_LISTS } from './dns-schema.js'
import { nameserverHost, nameserverVia } from './nameservers.js'
import type { Path } from './path.js'
import { show } from './show.js'
import type { TunOptions } from './tun-schema.js'

/** A range of the NIC with where it stands. */
export interface NicAddress {
  path: Path
  text: string
}

export const FAKE_RANGES = ['fake-ip-range', 'fake-ip-range6'] as const
export type FakeRange = (typeof FAKE_RANGES)[number]
/** Without a range there is nothing to compare. */
type Names = Omit<DnsOptions, FakeRange> & Partial<Pick<DnsOptions, FakeRange>>

export function checkOverlaps(tun: TunOptions, nic: readonly NicAddress[], dns: Names, report: Report): void {
  const answers = dns.enable || tun['dns-listen'] !== undefined || tun['dns-hijack'].length > 0
  for (const address of nic) checkNicAddress(address, tun, report)
  if (!answers || dns['enhanced-mode'] !== 'fake-ip') return
  for (const key of FAKE_RANGES) {
    const range = dns[key]
    if (range === undefined) continue
    for (const address of nic) checkFakeRange(key, range, address, report)
    for (const list of NAMESERVER_LISTS) {
      for (const [i, server] of dns[list].entries()) checkServer(key, range, ['dns', list, i], server, report)
    }
  }
}

function checkNicAddress({ path, text }: NicAddress, tun: TunOptions, report: Report): void {
  const range = parseCidr(text)
  if (range === undefined) return
  const all = range.family === 4 ? 32 : 128
  if (!hasHostBits(range) && range.bits < all - 1) {
    const hint = `write ${formatAddress(range.family, range.first + 1n)}/${range.bits}`
    report.warning(path, { id: 'tun/nic-network', message: `${show(text)} is the first address of its network, which is no host's`, hint })
  }
  const own = formatAddress(range.family, range.address)
  for (const [key, i] of [['dns-listen', -1], ...tun['dns-hijack'].map((_, i) => ['dns-hijack', i] as const)] as const) {
    const place = i < 0 ? tun['dns-listen'] : tun['dns-hijack'][i]
    const host = place === undefined ? undefined : parseCidr(place.slice(0, place.lastIndexOf(':')).replace(/^\[|\]$/g, ''))
    if (host?.family !== range.family || host.address !== range.address) continue
    report.error(i < 0 ? ['tun', key] : ['tun', key, i], {
      id: 'tun/local-address',
      message: `${own} is the NIC's own address: the kernel answers there itself`,
      hint: `use e.g. ${formatAddress(range.family, range.address + 1n)}, or 0.0.0.0 for any address`,
    })
  }
}

/** The pool leaves out the range's first two addresses, the one that is written, and the last: the NIC's own has to be among them. */
function checkFakeRange(key: string, text: string, nic: NicAddress, report: Report): void {
  const fake = parseCidr(text)
  const range = parseCidr(nic.text)
  if (fake === undefined || range === undefined || !overlaps(fake, range)) return
  const own = formatAddress(range.family, range.address)
  const host = hasHostBits(range) ? own : formatAddress(range.family, range.first + 1n)
  const inside = range.address >= fake.first && range.address <= fake.last
  const kept = [fake.first, fake.first + 1n, fake.address, fake.last].includes(range.address)
  if (inside && !kept) {
    report.error(nic.path, {
      id: 'tun/overlap',
      message: `the NIC's address ${own} lies in '${key}' (${text}): a name would get it, and its connections would end at this host`,
      hint: `use ${formatAddress(fake.family, fake.first + 1n)}, which is never handed out, or an address outside of the range`,
    })
  } else if (!holds(range, fake) && range.family === 4 && range.bits < 31 && range.last !== fake.last) {
    report.warning(nic.path, {
      id: 'tun/overlap',
      message:
        `the network ${show(nic.text)} lies in '${key}' (${text}): ` +
        `a name would get ${formatAddress(4, range.last)}, its broadcast address`,
      hint: `write ${host}/${fake.bits} or ${host}/32`,
    })
  }
}

function checkServer(key: string, text: string, path: Path, server: string, report: Report): void {
  const via = nameserverVia(server)
  if (via !== undefined && via !== 'RULES' && via !== 'DIRECT') return // at the far end of it the address may be anybody's
  const fake = parseCidr(text)
  const host = parseCidr(nameserverHost(server) ?? '')
  if (fake === undefined || host === undefined || !holds(fake, host)) return
  report.warning(path, {
    id: 'tun/overlap',
    message: `${show(server)} lies in '${key}' (${text}), whose addresses stand for names: it cannot be asked`,
    hint: 'use another nameserver, or another range',
  })
}
