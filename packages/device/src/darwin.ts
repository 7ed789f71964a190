// Owns: the rules of macOS: utun devices are numbered by the kernel and die with their descriptor. net/if_utun.h of XNU.
// Compiled and tested as rules; never run on macOS.

import type { NativeError } from '@tun/native'
import type { Platform, Problem, Words } from './platform.js'

const expected = 'expected dev://utun or fd://NUMBER'

function nameProblem(name: string): Problem | undefined {
  if (name === 'utun') return undefined
  if (/^utun\d+$/.test(name)) return { problem: 'macOS numbers its utun devices itself', hint: 'use dev://utun' }
  return { problem: 'macOS has utun devices only', hint: 'use dev://utun' }
}

function nameWords(error: NativeError): Words | undefined {
  if (error.syscall === 'connect' && (error.code === 'EPERM' || error.code === 'EACCES')) {
    return { code: 'ERR_TUN_PERMISSION', message: 'making a utun needs root', hint: 'run it with sudo, or pass an open utun as fd://N' }
  }
  return undefined
}

export const darwin: Platform = {
  expected,
  nameProblem,
  addressesProblem: () => undefined,
  nameWords,
  descriptorHint: 'pass a utun, or an AF_UNIX datagram socket',
  permissionHint: 'run it with sudo',
}
