// Kernels and NICs that take less than all offloads: their ioctl(2) is ours, preloaded, which refuses what they do not know.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inNamespace, missing } from './namespace.js'
import { OK } from './packets.mjs'

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int ioctl(int fd, unsigned long what, ...) {
  va_list rest;
  va_start(rest, what);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  const int noOffload = what == TUNSETOFFLOAD && (unsigned long)argument & strtoul(getenv("REFUSED_OFFLOADS"), NULL, 0);
  const int noHeader = what == TUNSETIFF && getenv("NO_VNET_HEADER") && ((struct ifreq*)argument)->ifr_flags & IFF_VNET_HDR;
  errno = EINVAL;
  return noOffload || noHeader ? -1 : ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, what, argument);
}
`
const [CSUM, TSO, USO] = [0x01, 0x06, 0x60]
const reason = missing()
let directory = ''
let library = ''

describe.skipIf(reason)(`what a kernel refuses${reason ? ` (skipped: ${reason})` : ''}`, () => {
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'tun-ioctl-'))
    library = path.join(directory, 'ioctl.so')
    execFileSync(process.env.CC ?? 'cc', ['-x', 'c', '-shared', '-fPIC', '-o', library, '-', '-ldl'], { input: SOURCE })
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it.each([
    ['USO (before Linux 6.2)', USO, {}, { offload: true, set: CSUM | TSO }],
    ['segmentation', USO | TSO, {}, { offload: true, set: CSUM }],
    ['any offload', USO | TSO | CSUM, {}, { offload: true, set: 0 }],
    ['the header', 0, { NO_VNET_HEADER: '1' }, { offload: false, set: 0 }],
  ])(
    'is not asked for again, and packets of both protocols and families go through whole: %s',
    async (_, refused, env, negotiated) => {
      const preload = [process.env.LD_PRELOAD, library].filter(Boolean).join(':') // the sanitizers' own comes first
      const result = await inNamespace('olderKernel', { LD_PRELOAD: preload, REFUSED_OFFLOADS: String(refused), ...env })
      expect(result.negotiated).toEqual(negotiated)
      expect([result.udp.length, result.tcp.length, result.small.length]).toEqual([4, 4, 4])
      for (const one of result.udp) expect(one).toMatchObject({ status: OK, refused: 0, sizes: [1000, 1000, 1000, 1000, 321], same: true })
      for (const one of result.tcp) expect(one).toMatchObject({ status: OK, refused: 0, done: true, same: true })
      for (const one of result.small) expect(one).toMatchObject({ status: OK, done: 1, same: true })
    },
    60_000,
  )
})
