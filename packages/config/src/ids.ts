// Owns: the names of diagnostics, and what each is about, as docs/config.md lists them. A key that is answered has its own, `tun/KEY`.

export const DIAGNOSTICS = {
  'tun/yaml': 'The text is not YAML, or not keys and values.',
  'tun/duplicate-key': 'A key stands twice in one map; Go programs refuse such a file, others take the last.',
  'tun/alias': 'An alias (`*name`) without its anchor (`&name`), inside of what it stands for, or repeated without bound.',
  'tun/merge': 'What a merge (`<<`) names is no map.',
  'tun/unknown-key': 'Nobody knows the key: mostly a slip of the pen. It has no effect.',
  'tun/not-acted-on': 'Clash or mihomo know this key, value or scheme; nothing here acts on it.',
  'tun/missing': 'A key that is needed is not there.',
  'tun/type': 'The value is of the wrong type.',
  'tun/range': 'A number, or how many there are of something, is too small or too big.',
  'tun/word': 'The value is none of the words that are possible.',
  'tun/value': 'The value is wrong in another way, which the message says.',
  'tun/address': 'Not an address, or not with a port, or not of this family.',
  'tun/cidr': 'Not a range `ADDRESS/BITS`, or one that cannot be used for this.',
  'tun/cidr-host-bits': 'A range is written with bits behind its prefix: mostly the prefix is not the one that was meant.',
  'tun/nic-network': "A NIC's address is the first one of its network, which is no host's.",
  'tun/device-url': '`device-url`, `device` or `file-descriptor` names no device.',
  'tun/nameserver': 'An entry is no nameserver.',
  'tun/nameserver-way': "What stands behind a nameserver's `#` is no proxy and no interface (clash-proxy).",
  'tun/domain-pattern': 'Not a pattern of domain names, or one that never matches.',
  'tun/hosts': 'A name of `hosts` stands for something that is no address and no name.',
  'tun/store': '`fake-ip-store` is no place.',
  'tun/range-of-numbers': 'Not `FIRST:LAST`, or the wrong way round.',
  'tun/overlap': "Addresses are there for two things at once: fake IPs, the NIC's own network, nameservers.",
  'tun/local-address': 'DNS would be answered at an address of this host, whose packets never reach the TUN.',
  'tun/contradiction': 'Two keys say different things; the message says which is taken.',
  'tun/no-effect': 'The key does nothing as the others are.',
  'tun/synonym': 'The key is another name for one of ours, and was taken for it.',
  'tun/small-mtu': 'IPv6 needs 1,280 bytes (RFC 8200 §5).',
  'tun/short-udp-timeout': 'UDP flows are to live for two minutes at least (RFC 4787 §4.3).',
  'tun/taken-as-number': 'A text that YAML reads as a number which is written otherwise: `0123`, `1e5`.',
  'tun/proxies': 'An entry of `proxies` is wrong, or of a kind that is not spoken (clash-proxy).',
  'tun/proxy-groups': 'An entry of `proxy-groups` is wrong, or more than its first proxy was asked for (clash-proxy).',
  'tun/rules': 'A rule is wrong, or of a kind that is skipped (clash-proxy).',
} as const

export type GeneralId = keyof typeof DIAGNOSTICS
/** `tun/KEY` for keys that are answered by a diagnostic of their own. */
export type DiagnosticId = GeneralId | `tun/${string}`
