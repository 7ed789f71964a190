// Owns: UDP through a Shadowsocks server: one socket per flow, over which anybody's answer comes back. Read SIP004, "UDP": a datagram is a
// salt and one sealed piece, in which an address stands before the payload: where to, or where from.

import { randomBytes } from 'node:crypto'
import {
  type DatagramFlow,
  type DatagramOutbound,
  type Destination,
  DialError,
  decodeSocksAddress,
  type Endpoint,
  encodeSocksAddress,
  type Outbound,
  socksAddressRest,
} from '@tun/inbound'
import { TAG_LENGTH } from './cipher.js'
import type { ShadowsocksSession } from './stream.js'

const MAX_DATAGRAM = 65_507 // bytes of UDP payload over IPv4, with all that is ours

export type Associate = NonNullable<Outbound['associate']>

/** The way of `flow`'s datagrams to `server`, by `associate`. */
export async function openShadowsocksDatagrams(
  associate: Associate,
  server: Destination,
  session: ShadowsocksSession,
  flow: DatagramFlow,
  signal?: AbortSignal,
): Promise<DatagramOutbound> {
  let unreachable = () => {}
  const lost = new Promise<Error>(resolve => {
    unreachable = () => resolve(new DialError('EHOSTUNREACH', `${session.name} cannot be reached`))
  })
  const below = await associate({ source: flow.source, reject: () => unreachable() }, signal)
  void lost.then(() => below.close())
  return new ShadowsocksDatagrams(below, server, session, Promise.race([lost, below.closed]))
}

class ShadowsocksDatagrams implements DatagramOutbound {
  private lastTo: Destination | undefined
  private lastAddress: Buffer | undefined

  constructor(
    private readonly below: DatagramOutbound,
    private readonly server: Destination,
    private readonly session: ShadowsocksSession,
    readonly closed: Promise<Error | undefined>,
  ) {}

  send(payload: Uint8Array, to: Destination): boolean {
    const { secret, salts } = this.session
    const address = this.addressOf(to)
    if (address === undefined || secret.saltLength + address.length + payload.length + TAG_LENGTH > MAX_DATAGRAM) return false
    const salt = randomBytes(secret.saltLength)
    salts.add(salt)
    return this.below.send(Buffer.concat([salt, ...secret.session(salt).seal(address, payload)]), this.server)
  }

  onMessage(fn: (payload: Buffer, from: Endpoint) => void): void {
    this.below.onMessage(message => this.unwrap(message, fn))
  }

  close(): void {
    this.below.close()
  }

  private addressOf(to: Destination): Buffer | undefined {
    const last = this.lastTo
    if (last !== undefined && last.port === to.port && last.address === to.address && last.host === to.host) return this.lastAddress
    this.lastAddress = encodeSocksAddress([], to)
    this.lastTo = to
    return this.lastAddress
  }

  /** Whoever sent it, only its seal counts. What does not open, or not parse, is dropped; so is a source that is a name. */
  private unwrap(message: Buffer, receive: (payload: Buffer, from: Endpoint) => void): void {
    const { secret, salts } = this.session
    const salt = message.subarray(0, secret.saltLength)
    if (salt.length < secret.saltLength || salts.has(salt)) return
    const plain = secret.session(salt).open(message.subarray(salt.length))
    if (plain === undefined) return
    salts.add(salt)
    if (plain.length < 2) return
    const end = 2 + socksAddressRest(plain[0], plain[1])
    if (end === 2 || plain.length < end) return
    const from = decodeSocksAddress(plain[0], plain[1], plain.subarray(2, end))
    if (from.address !== '') receive(plain.subarray(end), from)
  }
}
