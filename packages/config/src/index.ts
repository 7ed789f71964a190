// Owns: what `@tun/config` offers.

export type { Diagnostic, Path } from './diagnostics.js'
export { ConfigError, formatDiagnostic, formatPath } from './diagnostics.js'
export type { LoadedConfig, LoadOptions, ParseOptions } from './load.js'
export { loadConfig, parseDns, parseTun } from './load.js'
export { nearest } from './nearest.js'
export type { DnsOptions, HostsOptions, ProfileOptions, TunOptions } from './schema.js'
export { configJsonSchema, DNS_DEFAULTS, dnsSchema, hostsSchema, profileSchema, TUN_DEFAULTS, tunSchema } from './schema.js'
export { cidr, clashBoolean, deviceUrl, listenAddress, nameserver, port } from './values.js'
