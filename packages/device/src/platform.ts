// Owns: what differs between platforms for somebody who opens a device: names, what is not to be had, and how a failure reads. Words
// only; url.ts, nic-address.ts and errors.ts make TunErrors of them. Every rule takes the platform as an argument, so all are tested
// anywhere.

import type { NativeError } from '@tun/native'
import { darwin } from './darwin.js'
import type { TunErrorCode } from './errors.js'
import { linux } from './linux.js'
import { windows } from './windows.js'

export interface Problem {
  problem: string
  /** What to do instead. */
  hint: string
}

export interface Words {
  code: TunErrorCode
  message: string
  hint?: string
}

export interface Platform {
  /** What a device URL looks like here. */
  expected: string
  /** What is wrong with `dev://name`, or undefined. */
  nameProblem(name: string): Problem | undefined
  /** Why there is no fd:// at all. */
  descriptorProblem?: Problem
  /** What is wrong with the option `addresses`, or undefined: they are set. */
  addressesProblem(url: string): Problem | undefined
  /** A failure of opening by name; undefined if nothing in particular is known of it. */
  nameWords(error: NativeError, name: string): Words | undefined
  /** What fd:// takes. */
  descriptorHint: string
  /** What helps if a call was not permitted. */
  permissionHint: string
}

/** A system without a driver of ours is answered in Linux' words: the addon says that it has none. */
export function platformOf(name: NodeJS.Platform): Platform {
  return name === 'darwin' ? darwin : name === 'win32' ? windows : linux
}
