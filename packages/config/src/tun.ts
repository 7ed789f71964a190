// Owns: the section `tun:` → TunOptions: other names for our keys, what each key alone cannot say.

import type { Report } from './diagnostics.js'
import { pick, readSection, type Section } from './sections.js'
import { tunAnswered } from './tun-answers.js'
import { type TunOptions, tunOptionsSchema, tunSchema, tunSynonyms } from './tun-schema.js'
import { clashBoolean, deviceUrl, hostBitsOf } from './values.js'

/** What is wrong is in the report. */
export function readTun(section: Section, platform: NodeJS.Platform, report: Report): TunOptions | undefined {
  const { own, adopted } = adoptDevice(section, report)
  const all = readSection(tunSchema, adoptNat(own, report), 'tun', report)
  checkHostBits(section, report)
  if (all === undefined) return undefined
  const tun = pick(all, tunOptionsSchema) as TunOptions
  const url = tun['device-url']
  if (tun.enable && url === undefined && !adopted && section['device-url'] === undefined) {
    report.errorAtKey(['tun'], { id: 'tun/missing', message: "'device-url' is missing", hint: 'e.g. device-url: dev://tun0' })
  }
  if (platform === 'darwin' && url?.startsWith('dev://') && url !== 'dev://utun') {
    const message = `macOS numbers its interfaces itself, '${url}' cannot be chosen`
    report.error(['tun', 'device-url'], { id: 'tun/device-url', message, hint: 'write dev://utun' })
  }
  if (tun.mtu !== undefined && tun.mtu < 1280) {
    const message = `${tun.mtu} is too small for IPv6`
    report.warning(['tun', 'mtu'], { id: 'tun/small-mtu', message, hint: '1280 or more (RFC 8200 §5)' })
  }
  if (tun['udp-timeout'] < 120) {
    const message = `${tun['udp-timeout']} s ends flows that applications think alive`
    report.warning(['tun', 'udp-timeout'], { id: 'tun/short-udp-timeout', message, hint: '120 or more (RFC 4787 §4.3)' })
  }
  return tun
}

/** Clash's way of saying it → ours. Answers the section with `device-url` filled in; `adopted`: its absence was already spoken of. */
function adoptDevice(section: Section, report: Report): { own: Section; adopted: boolean } {
  const { device, 'file-descriptor': descriptor } = section
  const from = descriptor !== undefined && descriptor !== 0 ? 'file-descriptor' : device !== undefined && device !== '' ? 'device' : null
  if (from === null) return { own: section, adopted: false }
  if (section['device-url'] !== undefined) {
    const message = `'device-url' is there as well and is taken`
    report.warningAtKey(['tun', from], { id: 'tun/contradiction', message, hint: `remove '${from}'` })
    return { own: section, adopted: true }
  }
  const value = from === 'device' ? device : descriptor
  if (from === 'device' ? typeof value !== 'string' : !tunSynonyms['file-descriptor'].safeParse(value).success)
    return { own: section, adopted: true } // told with all wrong values
  const url = from === 'file-descriptor' ? `fd://${value}` : /^[a-z]+:\/\//i.test(String(value)) ? String(value) : `dev://${value}`
  const fault = from === 'device' ? deviceUrl.safeParse(url).error?.issues[0] : undefined
  if (fault) report.error(['tun', from], { id: 'tun/device-url', message: fault.message })
  else {
    const hint = "'device-url' is the name of the key here"
    report.noteAtKey(['tun', from], { id: 'tun/synonym', message: `taken as 'device-url: ${url}'`, hint })
  }
  return { own: fault ? section : { ...section, 'device-url': url }, adopted: true }
}

/** Clash's boolean → our filter. A key of each is told where they contradict each other. */
function adoptNat(section: Section, report: Report): Section {
  const independent = clashBoolean.safeParse(section['endpoint-independent-nat'])
  if (!independent.success) return section // absent, or refused where all values are
  const own = section['udp-filter']
  if (own === undefined) return { ...section, 'udp-filter': independent.data ? 'endpoint-independent' : 'address-and-port-dependent' }
  if ((own === 'endpoint-independent') !== independent.data) {
    const message = `'udp-filter: ${String(own)}' is there as well and is taken`
    report.warningAtKey(['tun', 'endpoint-independent-nat'], { id: 'tun/contradiction', message, hint: 'remove one of them' })
  }
  return section
}

function checkHostBits(section: Section, report: Report): void {
  for (const key of Object.keys(tunAnswered).filter(key => /route-(exclude-)?address$/.test(key))) {
    const list = section[key]
    if (!Array.isArray(list)) continue
    for (const [i, range] of list.entries()) {
      const fault = typeof range === 'string' ? hostBitsOf(range) : undefined
      if (fault) report.warning(['tun', key, i], { id: 'tun/cidr-host-bits', ...fault })
    }
  }
}
