// Owns: `--user`: whose rights the program goes on with, and whether what it still writes can be written with them.

import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DnsOptions } from '@tun/config'
import { type Account, dropPrivileges } from '@tun/device'

/** @throws Error, with `hint`: this process is of no use then */
export function become(account: Account, dns: DnsOptions): void {
  const store = storeIn(dns)
  dropPrivileges(account, { files: store === undefined ? [] : [store, `${store}.lock`] })
  if (store === undefined) return
  try {
    // It is written anew beside itself now and then, and its lock removed at the end.
    accessSync(dirname(store), constants.W_OK | constants.X_OK)
  } catch {
    const hint =
      `sudo install -d -o ${account.uid} -g ${account.gid} /var/lib/clash-proxy, and in the file ` +
      'dns: {fake-ip-store: /var/lib/clash-proxy/fake-ip} (or profile: {store-fake-ip: false})'
    const message = `--user ${account.name}: fake IPs are kept in ${store}, and this user may not write in ${dirname(store)}`
    throw Object.assign(new Error(`${message}; ${hint}`), { hint })
  }
}

/** The file of fake IPs, if there is one. */
function storeIn(dns: DnsOptions): string | undefined {
  const store = dns['fake-ip-store']
  const isFile = dns.enable && dns['enhanced-mode'] === 'fake-ip' && store !== undefined && store !== 'memory' && !store.includes('://')
  return isFile && existsSync(store) ? store : undefined
}
