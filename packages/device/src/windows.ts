// Owns: the rules of Windows: names of network connections, Wintun's errors in words, and the GUID by which Windows knows an adapter
// again. Read first: https://git.zx2c4.com/wintun/about; winerror.h. Tested as rules; never run on Windows.

import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import type { NativeError } from '@tun/native'
import type { Platform, Problem, Words } from './platform.js'

// MAX_ADAPTER_NAME of wintun.h is 128 UTF-16 units with the NUL.
const NAME_UNITS = 127

const expected = 'expected dev://NAME, e.g. dev://tun0'

function nameProblem(name: string): Problem | undefined {
  if (name === '') return { problem: 'the name is missing', hint: expected }
  if (name.length > NAME_UNITS)
    return { problem: `the name has ${name.length} characters`, hint: `a Wintun adapter's has at most ${NAME_UNITS}` }
  // What the dialogue that renames a connection refuses, and control characters.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\\/:*?"<>|\u0000-\u001f\u007f]/.test(name) || name.trim() !== name) {
    return { problem: 'not a name for a network connection', hint: 'leave out \\ / : * ? " < > | and spaces at the ends' }
  }
  if (name.includes('%')) return { problem: 'Windows numbers no adapters', hint: 'write the name without "%", e.g. dev://tun0' }
  return undefined
}

/** Wintun's names of architectures, which are the directories of its archive. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: 'x86', arm64: 'arm64', arm: 'arm' }

const ACCESS_DENIED = 5
const INVALID_PARAMETER = 87
const ALREADY_INITIALIZED = 1247

function nameWords(error: NativeError): Words | undefined {
  switch (error.detail) {
    case 'wintun-missing':
      return { code: 'ERR_TUN_NO_DRIVER', message: 'wintun.dll is not there', hint: getWintun() }
    case 'wintun-architecture':
      return { code: 'ERR_TUN_NO_DRIVER', message: `wintun.dll is not for ${process.arch}`, hint: getWintun() }
    case 'wintun-version':
      return { code: 'ERR_TUN_NO_DRIVER', message: 'wintun.dll is too old', hint: getWintun() }
  }
  if (error.detail === 'not-wintun') {
    return {
      code: 'ERR_TUN_NOT_A_TUN',
      message: 'a network connection of that name exists and is no Wintun adapter',
      hint: 'choose another name',
    }
  }
  if (error.win32 === ACCESS_DENIED) {
    return { code: 'ERR_TUN_PERMISSION', message: `${error.syscall} is not permitted`, hint: windows.permissionHint }
  }
  if (error.syscall === 'WintunStartSession' && error.win32 === ALREADY_INITIALIZED) {
    return { code: 'ERR_TUN_BUSY', message: 'another process uses this adapter', hint: 'stop that process or choose another name' }
  }
  if (error.syscall === 'WintunCreateAdapter' && error.win32 === INVALID_PARAMETER) {
    return { code: 'ERR_TUN_DEVICE_URL', message: 'Windows refuses this name', hint: 'choose another name, e.g. dev://tun0' }
  }
  if (error.syscall === 'SetIpInterfaceEntry') {
    return { code: 'ERR_TUN_MTU', message: `Windows refuses the mtu (error ${error.win32})`, hint: 'use 1280 to 65535' }
  }
  if (error.syscall === 'CreateUnicastIpAddressEntry') {
    const hint = 'see that no other adapter has it'
    return { code: 'ERR_TUN_ADDRESS', message: `Windows refuses an address (error ${error.win32})`, hint }
  }
  if (error.win32 === undefined) return undefined
  return { code: 'ERR_TUN_SYSTEM', message: `${error.syscall} failed with ${error.code} (Windows error ${error.win32})` }
}

function getWintun(): string {
  const directory = ARCHITECTURES[process.arch] ?? 'amd64'
  return `get it from https://www.wintun.net and put bin\\${directory}\\wintun.dll of the archive into ${dirname(process.execPath)}`
}

/**
 * 16 bytes, a UUID of version 5 (RFC 9562 §5.5) of the name: the same adapter at each start, or Windows makes a new network profile of it
 * every time.
 */
export function adapterGuid(name: string): Uint8Array {
  const namespace = Buffer.from('b7a9d2f04c1e4f6a9d3b5e8c71f20a46', 'hex') // our own, made by chance once
  const guid = createHash('sha1').update(namespace).update(name.toLowerCase()).digest().subarray(0, 16)
  guid[6] = (guid[6] & 0x0f) | 0x50
  guid[8] = (guid[8] & 0x3f) | 0x80
  return new Uint8Array(guid)
}

export const windows: Platform = {
  expected,
  nameProblem,
  descriptorProblem: { problem: 'Windows has no descriptors of network adapters', hint: expected },
  addressesProblem: () => undefined,
  nameWords,
  descriptorHint: expected,
  permissionHint: 'run it as administrator',
}
