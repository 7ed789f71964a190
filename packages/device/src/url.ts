// Owns: the grammar of device URLs: dev://NAME, fd://N. What a name may be is the platform's.

import { TunError } from './errors.js'
import { platformOf } from './platform.js'

export type DeviceUrl = { kind: 'name'; name: string } | { kind: 'fd'; fd: number }

/** Throws TunError ERR_TUN_DEVICE_URL, whose message names the value and what is expected. */
export function parseDeviceUrl(url: string, platform: NodeJS.Platform = process.platform): DeviceUrl {
  const { expected, nameProblem, descriptorProblem } = platformOf(platform)
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[0].toLowerCase()
  const rest = scheme ? url.slice(scheme.length) : ''
  switch (scheme) {
    case 'dev://': {
      const wrong = nameProblem(rest)
      if (wrong) throw bad(url, wrong.problem, wrong.hint)
      return { kind: 'name', name: rest }
    }
    case 'fd://':
      if (descriptorProblem) throw bad(url, descriptorProblem.problem, descriptorProblem.hint)
      return { kind: 'fd', fd: descriptor(url, rest) }
    case 'tap://':
      throw bad(url, 'Ethernet (TAP) devices are not supported, only IP', expected)
    case undefined:
      throw bad(url, 'not a device URL', expected)
    default:
      throw bad(url, `unknown scheme ${scheme}`, expected)
  }
}

function descriptor(url: string, text: string): number {
  const fd = Number(text)
  if (!/^\d+$/.test(text) || fd > 0x7fffffff) throw bad(url, 'not a file descriptor number', 'expected a number, e.g. fd://3')
  return fd
}

function bad(url: string, problem: string, hint: string): TunError {
  return new TunError('ERR_TUN_DEVICE_URL', `device-url ${JSON.stringify(url)}: ${problem}`, { device: url, hint })
}
