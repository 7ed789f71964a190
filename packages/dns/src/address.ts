// Owns: IP addresses as text, as 32-bit words and as the bytes of a record. RFC 4291 §2.2 (forms), RFC 5952 (the one we write).

/** The address as an unsigned 32-bit number, -1 if the text is no dotted quad. Leading zeros are refused: some read them as octal. */
export function parseIpv4(text: string): number {
  let value = 0
  let octet = -1
  let dots = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit === -2) {
      if (octet < 0 || ++dots > 3) return -1
      value = value * 256 + octet
      octet = -1
    } else if (digit < 0 || digit > 9 || octet === 0) return -1
    else if ((octet = (octet < 0 ? 0 : octet * 10) + digit) > 255) return -1
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1
}

export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
}

/** Writes the four unsigned words of an IPv6 address into `words`; false if the text is none. A zone (`%eth0`) is none. */
export function parseIpv6(text: string, words: Uint32Array): boolean {
  let tail = text
  const groups: number[] = []
  const colon = text.lastIndexOf(':')
  if (colon < 0) return false
  let quad = -1
  if (text.includes('.', colon)) {
    quad = parseIpv4(text.slice(colon + 1))
    if (quad < 0) return false
    tail = `${text.slice(0, colon + 1)}0:0`
  }
  const gap = tail.indexOf('::')
  if (gap >= 0 && tail.indexOf('::', gap + 1) >= 0) return false
  const head = gap < 0 ? tail : tail.slice(0, gap)
  if (!readGroups(head, groups)) return false
  if (gap >= 0) {
    const rest: number[] = []
    if (!readGroups(tail.slice(gap + 2), rest)) return false
    if (groups.length + rest.length > 7) return false // '::' stands for at least one group
    while (groups.length + rest.length < 8) groups.push(0)
    groups.push(...rest)
  }
  if (groups.length !== 8) return false
  for (let i = 0; i < 4; i++) words[i] = groups[2 * i] * 65536 + groups[2 * i + 1]
  if (quad >= 0) words[3] = quad
  return true
}

function readGroups(text: string, into: number[]): boolean {
  if (text === '') return true
  for (const group of text.split(':')) {
    if (into.length === 8 || !/^[0-9a-fA-F]{1,4}$/.test(group)) return false
    into.push(Number.parseInt(group, 16))
  }
  return true
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) becomes '::'. */
export function formatIpv6(words: ArrayLike<number>): string {
  let bestAt = -1
  let bestLength = 1
  let runAt = 0
  for (let i = 0; i <= 8; i++) {
    if (i < 8 && group(words, i) === 0) continue
    if (i - runAt > bestLength) {
      bestAt = runAt
      bestLength = i - runAt
    }
    runAt = i + 1
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === bestAt) {
      text += '::'
      i += bestLength - 1
    } else text += (text === '' || text.endsWith(':') ? '' : ':') + group(words, i).toString(16)
  }
  return text
}

function group(words: ArrayLike<number>, i: number): number {
  return i & 1 ? words[i >> 1] & 0xffff : words[i >> 1] >>> 16
}

const scratch = new Uint32Array(4)

/** 4 or 16 bytes in network order, null if the text is no address. */
export function addressBytes(text: string): Uint8Array | null {
  const v4 = parseIpv4(text)
  if (v4 >= 0) return Uint8Array.of(v4 >>> 24, (v4 >>> 16) & 255, (v4 >>> 8) & 255, v4 & 255)
  if (!parseIpv6(text, scratch)) return null
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < 4; i++) view.setUint32(4 * i, scratch[i])
  return bytes
}

/** The text of 4 or 16 bytes. */
export function textOfAddress(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length === 4) return formatIpv4(view.getUint32(0))
  return formatIpv6([0, 4, 8, 12].map(at => view.getUint32(at)))
}
