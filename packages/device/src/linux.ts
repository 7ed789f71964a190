// Owns: Linux' rules for NIC names, and the words for what keeps a TUN from being opened. netdevice(7); tun_set_iff in drivers/net/tun.c.

import type { NativeError } from '@tun/native'
import type { Platform, Problem, Words } from './platform.js'

// IFNAMSIZ is 16 with the NUL (netdevice(7)).
const NAME_BYTES = 15

const expected = 'expected dev://NAME (e.g. dev://tun0) or fd://NUMBER'

function nameProblem(name: string): Problem | undefined {
  if (name === '') return { problem: 'the name is missing', hint: expected }
  const bytes = Buffer.byteLength(name)
  if (bytes > NAME_BYTES) return { problem: `the name has ${bytes} bytes`, hint: `a NIC name has at most ${NAME_BYTES}` }
  // dev_valid_name() in net/core/dev.c; control characters are legal there and a mistake here.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (name === '.' || name === '..' || /[/:\s\u0000-\u001f\u007f]/.test(name)) {
    return { problem: 'not a NIC name', hint: 'use letters, digits, "-", "_" and "."' }
  }
  if (name.includes('%') && !/^[^%]*%d[^%]*$/.test(name)) {
    return { problem: 'a "%" stands for nothing but a number', hint: 'use one "%d", e.g. dev://tun%d' }
  }
  return undefined
}

function nameWords(error: NativeError, wanted: string): Words | undefined {
  const name = wanted.replace('%d', '0') // a template is for us; `ip link` wants a name
  const create = `sudo ip tuntap add dev ${name} mode tun user $USER && sudo ip link set ${name} up`
  switch (error.code) {
    case 'EPERM':
      if (error.syscall !== 'TUNSETIFF') break
      if (error.detail === 'tun') {
        return {
          code: 'ERR_TUN_PERMISSION',
          message: 'the NIC belongs to another user',
          hint: `run as its owner or root, or: sudo ip link delete ${name} && ${create}`,
        }
      }
      return {
        code: 'ERR_TUN_PERMISSION',
        message: 'creating a NIC is not permitted',
        hint: `run as root, or create it once: ${create}`,
      }
    case 'EACCES':
      if (error.syscall !== 'open') break
      return {
        code: 'ERR_TUN_PERMISSION',
        message: '/dev/net/tun cannot be opened by this user',
        hint: 'run as root, or: sudo chmod 0666 /dev/net/tun',
      }
    case 'EBUSY':
      return {
        code: 'ERR_TUN_BUSY',
        message: 'another process has this NIC open',
        hint: 'stop that process or choose another name',
      }
    case 'EINVAL':
      if (error.syscall !== 'TUNSETIFF') break
      if (error.detail === 'tap') {
        return {
          code: 'ERR_TUN_NOT_A_TUN',
          message: 'the NIC is a TAP, not a TUN',
          hint: `choose another name, or: sudo ip link delete ${name} && ${create}`,
        }
      }
      if (error.detail === 'tun') {
        return {
          code: 'ERR_TUN_QUEUE_FLAGS',
          message: 'the NIC was created with other flags (multi_queue)',
          hint: `create it again: sudo ip link delete ${name} && ${create}`,
        }
      }
      if (error.detail === 'other') {
        return { code: 'ERR_TUN_NOT_A_TUN', message: 'a NIC of that name exists and is not a TUN', hint: 'choose another name' }
      }
      return {
        code: 'ERR_TUN_DEVICE_URL',
        message: 'the kernel refuses this NIC name',
        hint: 'choose another name, e.g. dev://tun0',
      }
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
      if (error.syscall !== 'open') break
      return {
        code: 'ERR_TUN_NO_DEVICE_NODE',
        message: '/dev/net/tun does not work here',
        hint: 'run: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)',
      }
  }
  return undefined
}

export const linux: Platform = {
  expected,
  nameProblem,
  addressesProblem: url => ({
    problem: 'on Linux the addresses of a NIC are given by whoever routes to it',
    hint: `leave out 'addresses' and run: sudo ip address add 198.18.0.1/30 dev ${url.replace(/^dev:\/\//, '')}`,
  }),
  nameWords,
  descriptorHint: 'pass a TUN opened with IFF_TUN|IFF_NO_PI, or an AF_UNIX datagram or seqpacket socket',
  permissionHint: 'run as root, or: sudo setcap cap_net_admin+ep "$(command -v node)"',
}
