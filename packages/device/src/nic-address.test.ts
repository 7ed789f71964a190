import { describe, expect, it } from 'vitest'
import { parseNicAddresses } from './nic-address.js'

function refusal(text: string, platform: NodeJS.Platform = 'darwin'): string {
  try {
    parseNicAddresses('dev://utun', [text], platform)
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`
  }
  return 'accepted'
}

describe('the addresses of a NIC', () => {
  it('are bytes in network order with the length of their prefix', () => {
    expect(parseNicAddresses('dev://utun', ['198.18.0.1/30', 'fd00::1:2/126'], 'darwin')).toEqual([
      { bytes: Uint8Array.of(198, 18, 0, 1), prefix: 30 },
      { bytes: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2), prefix: 126 },
    ])
  })

  it('are refused by name, with what is expected', () => {
    for (const text of ['198.18.0.1', '198.18.0.1/33', 'fd00::/129', 'fe80::1%en0/64', '::ffff:1.2.3.4/120', '1.2.3/8', 'x/8', '/8', '']) {
      expect(refusal(text)).toBe(
        `ERR_TUN_ADDRESS dev://utun: addresses: ${JSON.stringify(text)} is none; ` +
          'expected ADDRESS/PREFIX, e.g. 198.18.0.1/30 or fd00::1/126',
      )
    }
  })

  it('are not set on Linux, where somebody else routes, and it is said how they are', () => {
    expect(parseNicAddresses('dev://tun0', [], 'linux')).toEqual([])
    expect(refusal('198.18.0.1/30', 'linux')).toMatch(
      /^ERR_TUN_UNSUPPORTED_PLATFORM dev:\/\/utun: .*; leave out 'addresses' and run: sudo ip address add 198\.18\.0\.1\/30 dev utun$/,
    )
  })
})
