// Owns: a whole config file with its options, and everything that is said about one, for tests.

import { expect } from 'vitest'
import { z } from 'zod'
import { ConfigError, formatDiagnostic } from './diagnostics.js'
import { type LoadOptions, loadConfig } from './load.js'

export const FULL = `mode: rule
mixed-port: 7890
tun:
  enable: true
  device-url: dev://tun0
  dns-listen: 0.0.0.0:53
  mtu: 1500
  gso: off
  udp-timeout: 300
dns:
  enable: yes
  ipv6: true
  listen: :1053
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-range6: fc00::/18
  fake-ip-filter: ['+.real.test', "*.lan"]
  nameserver: [10.0.0.1, 'tcp://[2001:db8::1]:53']
  default-nameserver:
    - 10.0.0.1
proxies:
  - {name: s5, type: socks5, server: 10.0.0.1, port: 1080, password: hunter2}
rules:
  - MATCH,s5
`

const proxies = z.array(
  z.strictObject({
    name: z.string(),
    type: z.enum(['socks5', 'http']),
    server: z.string(),
    port: z.int().min(1).max(65535),
    password: z.string().optional(),
  }),
)
export const OPTIONS: LoadOptions = {
  file: 'config.yaml',
  platform: 'linux',
  sections: { proxies, rules: z.array(z.string()).default([]) },
  known: ['mode', 'mixed-port', 'dns.listen'],
}

/** Everything that is said about a text, a line a finding. */
export function said(text: string, options: LoadOptions = { file: 'c', platform: 'linux' }): string[] {
  try {
    return loadConfig(text, options).warnings.map(warning => formatDiagnostic(warning, options.file))
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message.split('\n')
  }
}
