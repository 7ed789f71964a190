// Owns: the option `addresses` of openTun(): text to the bytes that the addon takes.

import { isMapped, parseAddress } from '@tun/stack'
import { TunError } from './errors.js'
import { platformOf } from './platform.js'

export interface NicAddress {
  /** 4 or 16, network order. */
  bytes: Uint8Array
  prefix: number
}

/** Throws TunError ERR_TUN_ADDRESS, which names the address; ERR_TUN_UNSUPPORTED_PLATFORM where they are not ours to give. */
export function parseNicAddresses(url: string, texts: readonly string[], platform: NodeJS.Platform = process.platform): NicAddress[] {
  const impossible = platformOf(platform).addressesProblem(url)
  if (texts.length > 0 && impossible) {
    throw new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `${url}: ${impossible.problem}`, { device: url, hint: impossible.hint })
  }
  return texts.map(text => {
    const [, host, length] = /^([^/%]+)\/(\d{1,3})$/.exec(text) ?? []
    const words = host === undefined ? null : parseAddress(host)
    const v4 = words !== null && !host.includes(':')
    const prefix = Number(length)
    if (words === null || prefix > (v4 ? 32 : 128) || (!v4 && isMapped(words[0], words[1], words[2]))) {
      const hint = 'expected ADDRESS/PREFIX, e.g. 198.18.0.1/30 or fd00::1/126'
      throw new TunError('ERR_TUN_ADDRESS', `${url}: addresses: ${JSON.stringify(text)} is none`, { device: url, hint })
    }
    const bytes = new Uint8Array(16)
    const view = new DataView(bytes.buffer)
    for (const [i, word] of words.entries()) view.setInt32(4 * i, word)
    return { bytes: v4 ? bytes.slice(12) : bytes, prefix }
  })
}
