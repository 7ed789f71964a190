// Owns: the grammar of device URLs: dev://NAME, fd://N.

import { TunError } from './errors.js'

export type DeviceUrl = { kind: 'name'; name: string } | { kind: 'fd'; fd: number }

// IFNAMSIZ is 16 with the NUL (netdevice(7)).
const NAME_BYTES = 15

const EXPECTED = 'expected dev://NAME (e.g. dev://tun0) or fd://NUMBER'

/** Throws TunError ERR_TUN_DEVICE_URL, whose message names the value and what is expected. */
export function parseDeviceUrl(url: string, platform: NodeJS.Platform = process.platform): DeviceUrl {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[0].toLowerCase()
  const rest = scheme ? url.slice(scheme.length) : ''
  switch (scheme) {
    case 'dev://':
      return { kind: 'name', name: platform === 'darwin' ? darwinName(url, rest) : linuxName(url, rest) }
    case 'fd://':
      return { kind: 'fd', fd: descriptor(url, rest) }
    case 'tap://':
      throw bad(url, 'Ethernet (TAP) devices are not supported, only IP', EXPECTED)
    case undefined:
      throw bad(url, 'not a device URL', EXPECTED)
    default:
      throw bad(url, `unknown scheme ${scheme}`, EXPECTED)
  }
}

function linuxName(url: string, name: string): string {
  if (name === '') throw bad(url, 'the name is missing', EXPECTED)
  const bytes = Buffer.byteLength(name)
  if (bytes > NAME_BYTES) throw bad(url, `the name has ${bytes} bytes`, `a NIC name has at most ${NAME_BYTES}`)
  // dev_valid_name() in net/core/dev.c; control characters are legal there and a mistake here.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (name === '.' || name === '..' || /[/:\s\u0000-\u001f\u007f]/.test(name)) {
    throw bad(url, 'not a NIC name', 'use letters, digits, "-", "_" and "."')
  }
  if (name.includes('%') && !/^[^%]*%d[^%]*$/.test(name))
    throw bad(url, 'a "%" stands for nothing but a number', 'use one "%d", e.g. dev://tun%d')
  return name
}

function darwinName(url: string, name: string): string {
  if (name === 'utun') return name
  if (/^utun\d+$/.test(name)) throw bad(url, 'macOS numbers its utun devices itself', 'use dev://utun')
  throw bad(url, 'macOS has utun devices only', 'use dev://utun')
}

function descriptor(url: string, text: string): number {
  const fd = Number(text)
  if (!/^\d+$/.test(text) || fd > 0x7fffffff) throw bad(url, 'not a file descriptor number', 'expected a number, e.g. fd://3')
  return fd
}

function bad(url: string, problem: string, hint: string): TunError {
  return new TunError('ERR_TUN_DEVICE_URL', `device-url ${JSON.stringify(url)}: ${problem}`, { device: url, hint })
}
