// Owns: the errors this package throws at its caller. Bytes from the network never become one: they are answered or dropped.

export type DnsErrorCode =
  /** A range, address or CIDR given to the fake-IP pool cannot be used. */
  | 'ERR_TUN_FAKE_IP_RANGE'
  /** The store of fake addresses cannot be used: no client for it, or its URL is wrong. */
  | 'ERR_TUN_FAKE_IP_STORE'
  /** A domain pattern is not one of Clash's. */
  | 'ERR_TUN_DOMAIN_PATTERN'
  /** A nameserver's scheme is unknown, or known and not spoken yet. */
  | 'ERR_TUN_DNS_SCHEME'
  /** A nameserver is no IP address with an optional port. */
  | 'ERR_TUN_DNS_ADDRESS'
  /** A message over 65,535 bytes cannot be framed, one under 12 is none. */
  | 'ERR_TUN_DNS_LENGTH'
  /** No nameserver answered in time. */
  | 'ERR_TUN_DNS_TIMEOUT'
  /** Too many queries are in flight. */
  | 'ERR_TUN_DNS_OVERLOAD'
  /** The resolver was closed. */
  | 'ERR_TUN_DNS_CLOSED'

/** What went wrong outside this process: a nameserver, a timeout, an overload. */
export class DnsError extends Error {
  readonly code: DnsErrorCode

  constructor(code: DnsErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'DnsError'
    this.code = code
  }
}

/** What the caller did wrong: thrown at once, never later. */
export function misuse(code: DnsErrorCode, message: string): RangeError & { code: DnsErrorCode } {
  return Object.assign(new RangeError(message), { code })
}
