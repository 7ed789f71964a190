// Owns: a socket device and its other end, for tests; both end with the test.

import { closeSync, readSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach } from 'vitest'
import native from '../index.cjs'
import { address } from './packets.mjs'

export const A4 = address('10.0.0.1')
export const B4 = address('10.0.0.2')
export const A6 = address('fd00::1')
export const B6 = address('fd00::2')
export const index = fileURLToPath(new URL('../index.cjs', import.meta.url))

let opened: { close(): void }[] = []
export let peers: number[] = []
afterEach(() => {
  for (const tun of opened) tun.close()
  for (const fd of peers) closeSync(fd)
  opened = []
  peers = []
})

export function pair(type: 'dgram' | 'seqpacket' = 'seqpacket') {
  const [ours, peer] = native.socketpair(type)
  const tun = native.open({ fd: ours, ownership: 'take' })
  opened.push(tun)
  peers.push(peer)
  return { tun, peer }
}

export function closePeer(peer: number) {
  closeSync(peer)
  peers = peers.filter(fd => fd !== peer)
}

export function readAll(peer: number, count: number): Uint8Array[] {
  const buffer = new Uint8Array(70_000)
  return Array.from({ length: count }, () => buffer.slice(0, readSync(peer, buffer)))
}
