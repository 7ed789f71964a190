// Owns: IP addresses as four int32 words and as text. IPv4 a.b.c.d is the words of ::ffff:a.b.c.d, so one code path serves both.
// Read first: RFC 4291 (§2.2 text forms, §2.5.5.2 mapped addresses), RFC 5952 (the one text form to write).

/** Third word of an IPv4-mapped address; the first two are 0. */
export const MAPPED = 0xffff

/** Four int32 words, network order. */
export type AddressWords = [number, number, number, number]

export const isMapped = (w0: number, w1: number, w2: number): boolean => w2 === MAPPED && w0 === 0 && w1 === 0

/** Words → text: dotted for IPv4, RFC 5952 for IPv6. */
export function formatAddress(w0: number, w1: number, w2: number, w3: number): string {
  return isMapped(w0, w1, w2) ? formatIpv4(w3) : formatIpv6(w0, w1, w2, w3)
}

function formatIpv4(w: number): string {
  return (w >>> 24) + '.' + ((w >>> 16) & 255) + '.' + ((w >>> 8) & 255) + '.' + (w & 255)
}

function formatIpv6(w0: number, w1: number, w2: number, w3: number): string {
  const groups = [w0 >>> 16, w0 & 0xffff, w1 >>> 16, w1 & 0xffff, w2 >>> 16, w2 & 0xffff, w3 >>> 16, w3 & 0xffff]
  // RFC 5952 §4.2: the longest run of zero groups, at least two, the first of equals, becomes '::'.
  let best = -1
  let bestLength = 1
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && groups[i + n] === 0) n++
    if (n > bestLength) {
      best = i
      bestLength = n
    }
    i += n
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(g => g.toString(16))
      .join(':')
  return best < 0 ? hex(0, 8) : hex(0, best) + '::' + hex(best + bestLength, 8)
}

/** Text → words; null if it is no address. No zone (`%eth0`), no port, no brackets. IPv4 is strict: four decimals, no leading zeros. */
export function parseAddress(text: string): AddressWords | null {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): AddressWords | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (!match) return null
  let word = 0
  for (let i = 1; i <= 4; i++) {
    const part = match[i]
    const n = Number(part)
    if (n > 255 || (part.length > 1 && part[0] === '0')) return null
    word = (word << 8) | n
  }
  return [0, 0, MAPPED, word]
}

function parseIpv6(text: string): AddressWords | null {
  const groups: number[] = []
  const halves = text.split('::')
  if (halves.length > 2) return null
  const read = (half: string, last: boolean): number[] | null => {
    if (half === '') return []
    const out: number[] = []
    const parts = half.split(':')
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]
      if (last && i === parts.length - 1 && part.includes('.')) {
        const v4 = parseIpv4(part)
        if (!v4) return null
        out.push(v4[3] >>> 16, v4[3] & 0xffff)
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null
        out.push(Number.parseInt(part, 16))
      }
    }
    return out
  }
  const head = read(halves[0], halves.length === 1)
  const tail = halves.length === 2 ? read(halves[1], true) : []
  if (!head || !tail) return null
  if (halves.length === 1) {
    if (head.length !== 8) return null
    groups.push(...head)
  } else {
    if (head.length + tail.length > 7) return null
    groups.push(...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail)
  }
  const word = (i: number) => (groups[2 * i] << 16) | groups[2 * i + 1]
  return [word(0), word(1), word(2), word(3)]
}

/** 224.0.0.0/4, ff00::/8. */
export function isMulticast(w0: number, w1: number, w2: number, w3: number): boolean {
  return isMapped(w0, w1, w2) ? w3 >>> 28 === 14 : w0 >>> 24 === 0xff
}

/** 127.0.0.0/8, ::1. */
export function isLoopback(w0: number, w1: number, w2: number, w3: number): boolean {
  return isMapped(w0, w1, w2) ? w3 >>> 24 === 127 : w0 === 0 && w1 === 0 && w2 === 0 && w3 === 1
}

/** 0.0.0.0/8 ("this network", RFC 1122 §3.2.1.3), ::. */
export function isUnspecified(w0: number, w1: number, w2: number, w3: number): boolean {
  return isMapped(w0, w1, w2) ? w3 >>> 24 === 0 : (w0 | w1 | w2 | w3) === 0
}

/** 169.254.0.0/16, fe80::/10. */
export function isLinkLocal(w0: number, w1: number, w2: number, w3: number): boolean {
  return isMapped(w0, w1, w2) ? w3 >>> 16 === 0xa9fe : w0 >>> 22 === 0x3fa
}

/** 255.255.255.255, the only broadcast address that can be told without knowing the prefix. */
export function isBroadcast(w0: number, w1: number, w2: number, w3: number): boolean {
  return isMapped(w0, w1, w2) && w3 === -1
}
