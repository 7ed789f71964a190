import { describe, expect, it } from 'vitest'
import { TunError } from './errors.js'
import { parseDeviceUrl } from './url.js'

function refusal(url: string, platform: NodeJS.Platform): string {
  try {
    parseDeviceUrl(url, platform)
  } catch (error) {
    expect(error).toBeInstanceOf(TunError)
    expect(error).toMatchObject({ code: 'ERR_TUN_DEVICE_URL', device: url })
    return (error as TunError).message
  }
  return 'accepted'
}

describe('a device URL', () => {
  it('names a NIC of at most 15 bytes, or a template for the kernel to number', () => {
    for (const name of ['tun0', 'clash0', 'fifteen-bytes-x', 'tun%d', 'wg.7_a', 'ünï']) {
      expect(parseDeviceUrl(`dev://${name}`, 'linux')).toEqual({ kind: 'name', name })
    }
  })

  it('names an inherited descriptor, standard input included', () => {
    expect(parseDeviceUrl('fd://5', 'linux')).toEqual({ kind: 'fd', fd: 5 })
    expect(parseDeviceUrl('fd://0', 'darwin')).toEqual({ kind: 'fd', fd: 0 })
  })

  it('is refused in one line that names the value and what is expected', () => {
    const urls = [
      'tap://x',
      'dev://',
      'http://tun0',
      'tun0',
      '',
      'dev://sixteen-bytes-xx',
      'dev://ünïünïünïünï',
      'dev://a/b',
      'dev://a b',
      'dev://..',
      'dev://tun%s',
      'dev://%d%d',
      'fd://',
      'fd://-1',
      'fd://x',
      'fd://99999999999',
    ]
    expect(urls.map(url => refusal(url, 'linux'))).toMatchInlineSnapshot(`
      [
        "device-url "tap://x": Ethernet (TAP) devices are not supported, only IP; expected dev://NAME (e.g. dev://tun0) or fd://NUMBER",
        "device-url "dev://": the name is missing; expected dev://NAME (e.g. dev://tun0) or fd://NUMBER",
        "device-url "http://tun0": unknown scheme http://; expected dev://NAME (e.g. dev://tun0) or fd://NUMBER",
        "device-url "tun0": not a device URL; expected dev://NAME (e.g. dev://tun0) or fd://NUMBER",
        "device-url "": not a device URL; expected dev://NAME (e.g. dev://tun0) or fd://NUMBER",
        "device-url "dev://sixteen-bytes-xx": the name has 16 bytes; a NIC name has at most 15",
        "device-url "dev://ünïünïünïünï": the name has 20 bytes; a NIC name has at most 15",
        "device-url "dev://a/b": not a NIC name; use letters, digits, "-", "_" and "."",
        "device-url "dev://a b": not a NIC name; use letters, digits, "-", "_" and "."",
        "device-url "dev://..": not a NIC name; use letters, digits, "-", "_" and "."",
        "device-url "dev://tun%s": a "%" stands for nothing but a number; use one "%d", e.g. dev://tun%d",
        "device-url "dev://%d%d": a "%" stands for nothing but a number; use one "%d", e.g. dev://tun%d",
        "device-url "fd://": not a file descriptor number; expected a number, e.g. fd://3",
        "device-url "fd://-1": not a file descriptor number; expected a number, e.g. fd://3",
        "device-url "fd://x": not a file descriptor number; expected a number, e.g. fd://3",
        "device-url "fd://99999999999": not a file descriptor number; expected a number, e.g. fd://3",
      ]
    `)
  })

  it('cannot number a utun of macOS', () => {
    expect(parseDeviceUrl('dev://utun', 'darwin')).toEqual({ kind: 'name', name: 'utun' })
    expect(['dev://utun3', 'dev://tun0', 'dev://'].map(url => refusal(url, 'darwin'))).toMatchInlineSnapshot(`
      [
        "device-url "dev://utun3": macOS numbers its utun devices itself; use dev://utun",
        "device-url "dev://tun0": macOS has utun devices only; use dev://utun",
        "device-url "dev://": macOS has utun devices only; use dev://utun",
      ]
    `)
  })

  it('names a connection of Windows, which has no descriptors', () => {
    for (const name of ['tun0', 'Clash Tun', 'ünï', 'x'.repeat(127)]) {
      expect(parseDeviceUrl(`dev://${name}`, 'win32')).toEqual({ kind: 'name', name })
    }
    const urls = ['dev://', 'dev://a\\b', 'dev://a:b', 'dev:// a', 'dev://tun%d', `dev://${'x'.repeat(128)}`, 'fd://3', 'utun']
    expect(urls.map(url => refusal(url, 'win32').replace('x'.repeat(128), 'x…'))).toMatchInlineSnapshot(`
      [
        "device-url "dev://": the name is missing; expected dev://NAME, e.g. dev://tun0",
        "device-url "dev://a\\\\b": not a name for a network connection; leave out \\ / : * ? " < > | and spaces at the ends",
        "device-url "dev://a:b": not a name for a network connection; leave out \\ / : * ? " < > | and spaces at the ends",
        "device-url "dev:// a": not a name for a network connection; leave out \\ / : * ? " < > | and spaces at the ends",
        "device-url "dev://tun%d": Windows numbers no adapters; write the name without "%", e.g. dev://tun0",
        "device-url "dev://x…": the name has 128 characters; a Wintun adapter's has at most 127",
        "device-url "fd://3": Windows has no descriptors of network adapters; expected dev://NAME, e.g. dev://tun0",
        "device-url "utun": not a device URL; expected dev://NAME, e.g. dev://tun0",
      ]
    `)
  })
})
