// Owns: the handshake with a SOCKS5 proxy, for CONNECT and UDP ASSOCIATE. Read RFC 1928 §3, §4, §6 and RFC 1929; their messages are small,
// so one state machine reads them from whatever pieces arrive: greeting → (password) → request → stream.

import type { Socket } from 'node:net'
import type { DialedSocket } from '@tun/device'
import { type Attempt, type Caller, promising, tell } from './attempt.js'
import { handOver, startTcp } from './direct.js'
import { type Talk, type Talker, talk } from './handshake-talk.js'
import {
  type DatagramFlow,
  type DatagramOutbound,
  type Destination,
  DialError,
  type Endpoint,
  formatDestination,
  type Outbound,
} from './outbound.js'
import { unescapePercent } from './proxy-url.js'
import type { DirectOptions, Lookup } from './race.js'
import { decodeAddress, encodeAddress, restLength } from './socks5-address.js'
import { openSocks5Datagrams } from './socks5-datagrams.js'

export interface Socks5Server {
  host: string
  port: number
  username?: string
  password?: string
  /** Whether UDP ASSOCIATE may be asked for. Default true. */
  udp?: boolean
}

export interface Socks5Options {
  /** Milliseconds from the connect to the proxy until its answer to the request. Default 10,000. */
  dialTimeoutMs?: number
  /** Resolves the proxy's own name. Default: the system's resolver. */
  lookup?: Lookup
  /** Source address of the sockets to an IPv4 proxy. */
  localAddress?: string
  /** The same for an IPv6 proxy. */
  localAddress6?: string
}

const DIAL_TIMEOUT = 10_000 // ms
const VERSION = 5
const CONNECT = 1
const UDP_ASSOCIATE = 3
/** Where our datagrams will come from: not known before the socket is bound, and behind a NAT not even then (RFC 1928 §4). */
const ANYWHERE: Destination = { address: '0.0.0.0', port: 0, family: 4 }
const NO_AUTHENTICATION = 0
const USERNAME_PASSWORD = 2
const NO_ACCEPTABLE_METHOD = 0xff
const PASSWORD_VERSION = 1 // RFC 1929 §2
const GREETING = Buffer.from([VERSION, 1, NO_AUTHENTICATION])
const GREETING_WITH_PASSWORD = Buffer.from([VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD])

// What is being waited for; each is a piece of known length.
const METHOD = 0 // VER METHOD
const PASSWORD_STATUS = 1 // VER STATUS
const REPLY = 2 // VER REP; a refusal ends here, for some proxies send no address with it
const BOUND_TYPE = 3 // RSV ATYP and the address's first byte, which is the length if it is a name
const BOUND_REST = 4 // the rest of BND.ADDR, and BND.PORT

/**
 * RFC 1928 §6, reply → what the application behind the TUN is told. 1 says nothing but "no": a reset. 6 is what proxies send when
 * their own connect timed out (a TTL cannot expire in TCP), so the application sees a timeout as well.
 */
const REPLIES: readonly [code: string, meaning: string][] = [
  ['ECONNRESET', 'general SOCKS server failure'], // 1; also for replies that have no meaning
  ['EACCES', 'connection not allowed by ruleset'],
  ['ENETUNREACH', 'network unreachable'],
  ['EHOSTUNREACH', 'host unreachable'],
  ['ECONNREFUSED', 'connection refused'],
  ['ETIMEDOUT', 'TTL expired'],
  ['EOPNOTSUPP', 'command not supported'],
  ['EAFNOSUPPORT', 'address type not supported'],
]

/** The proxy answered a request with a failure; `reply` is its number (RFC 1928 §6). */
export class Socks5ReplyError extends DialError {
  override readonly name = 'Socks5ReplyError'
  constructor(
    code: string,
    readonly reply: number,
    message: string,
  ) {
    super(code, message)
  }
}

/**
 * An outbound through a SOCKS5 proxy: `socks5('socks5://user:password@127.0.0.1:1080')`. A destination with a `host` is asked for by
 * that name, any other by its address. Streams are those of `direct()` (see `Outbound.dial` for the handover).
 *
 * Errors by `code`: those of connect(2) when the proxy is out of reach, ECONNREFUSED included; ETIMEDOUT if it stays silent; EPROTO if
 * it speaks something else; EACCES if it does not take the credentials; ECONNRESET if it hangs up; `Socks5ReplyError` for its "no".
 * @throws TypeError ERR_TUN_PROXY_URL, RangeError ERR_TUN_PROXY_CREDENTIALS
 */
export function socks5(server: string | URL | Socks5Server, options: Socks5Options = {}): Outbound {
  const proxy = new Proxy5(typeof server === 'string' || server instanceof URL ? parseUrl(server) : server, options)
  const dial = promising<Destination, DialedSocket | Socket>(
    (caller, destination) =>
      new Handshake(proxy, CONNECT, destination, {
        succeeded: ({ socket }) => caller.succeeded(socket),
        failed: error => caller.failed(error),
      }),
    handOver,
  )
  if (!proxy.udp) return { dial }
  const associate = promising<DatagramFlow, DatagramOutbound>(
    caller =>
      new Handshake(proxy, UDP_ASSOCIATE, ANYWHERE, {
        succeeded: granted => proxy.open(granted, caller),
        failed: error => caller.failed(error),
      }),
  )
  return { dial, associate }
}

class Proxy5 {
  readonly name: string
  readonly greeting: Buffer
  readonly credentials: Buffer | undefined
  readonly udp: boolean
  readonly server: Destination
  readonly timeoutMs: number
  readonly wayOut: DirectOptions

  constructor(server: Socks5Server, options: Socks5Options) {
    const { host, port, username, password, udp = true } = server
    this.udp = udp
    this.server = { address: host, host, port, family: 4 }
    this.name = `SOCKS5 proxy ${formatDestination(this.server)}`
    this.credentials = username === undefined && password === undefined ? undefined : encodeCredentials(username ?? '', password ?? '')
    this.greeting = this.credentials ? GREETING_WITH_PASSWORD : GREETING
    this.timeoutMs = options.dialTimeoutMs ?? DIAL_TIMEOUT
    const { lookup, localAddress, localAddress6 } = options
    this.wayOut = { connectTimeoutMs: 0, lookup, localAddress, localAddress6 }
  }

  open({ socket, bound }: Granted, caller: Caller<DatagramOutbound>): void {
    const relay = relayOf(bound, socket)
    const { localAddress, localAddress6 } = this.wayOut
    tell(caller, () => openSocks5Datagrams(socket, relay, relay.family === 6 ? localAddress6 : localAddress))
  }
}

/** The proxy said yes; `bound` is BND.ADDR and BND.PORT, the address empty if it is a name. */
interface Granted {
  socket: DialedSocket | Socket
  bound: Endpoint
}

/** Where a proxy wants its datagrams. An unspecified address means: where you reached me; so does a name, which only can be its own. */
function relayOf(bound: Endpoint, control: DialedSocket | Socket): Endpoint {
  if (!['', '0.0.0.0', '::'].includes(bound.address)) return bound
  return { address: control.remoteAddress ?? '', port: bound.port, family: control.remoteFamily === 'IPv6' ? 6 : 4 }
}

/** One connection to the proxy, and the handshake on it, which reads exactly its own bytes (handshake-talk.ts). */
class Handshake implements Attempt, Caller<DialedSocket | Socket>, Talker {
  wanted = 2
  private waitingFor = METHOD
  private boundType = 0
  private boundFirst = 0
  private readonly request: Buffer | null
  private readonly timer: NodeJS.Timeout | undefined
  private connecting: Attempt | null = null
  private socket: DialedSocket | Socket | null = null
  private talk: Talk | null = null
  private over = false

  constructor(
    private readonly proxy: Proxy5,
    private readonly command: number,
    private readonly destination: Destination,
    private readonly caller: Caller<Granted>,
  ) {
    this.request = encodeAddress([VERSION, command, 0], destination) ?? null
    if (this.request === null) {
      this.end(new DialError('EINVAL', `${formatDestination(destination)} cannot be put into a SOCKS5 request`))
      return
    }
    this.timer = setTimeout(() => this.late(), proxy.timeoutMs)
    this.connecting = startTcp(this, proxy.server, proxy.wayOut)
  }

  /** It is connected. */
  succeeded(socket: DialedSocket | Socket): void {
    this.socket = socket
    this.talk = talk(socket, this)
    this.talk.write(this.proxy.greeting)
  }

  /** It could not be. */
  failed(error: NodeJS.ErrnoException): void {
    this.end(new DialError(error.code ?? 'ECONNRESET', `${this.proxy.name} cannot be reached: ${error.message}`, { cause: error }))
  }

  cancel(): void {
    if (this.over) return
    this.letGo()
    this.socket?.on('error', ignore)
    this.socket?.destroy()
    if (this.socket === null) this.connecting?.cancel()
  }

  private late(): void {
    if (this.socket !== null) return void this.fail('ETIMEDOUT', 'did not answer in time')
    const { server, timeoutMs } = this.proxy
    this.failed(new DialError('ETIMEDOUT', `${formatDestination(server)} did not answer within ${timeoutMs} ms`))
  }

  take(piece: Buffer): void {
    this.wanted = this.next(piece)
  }

  lost(error: NodeJS.ErrnoException | undefined): void {
    if (error === undefined) this.fail('ECONNRESET', 'closed the connection during the handshake')
    else this.fail(error.code ?? 'ECONNRESET', `failed during the handshake: ${error.message}`)
  }

  /** Answers how many bytes the next piece has; 0: the handshake is over. */
  private next(piece: Buffer): number {
    switch (this.waitingFor) {
      case METHOD:
        return piece[0] === VERSION ? this.takeMethod(piece[1]) : this.garbage(piece)
      case PASSWORD_STATUS:
        // RFC 1929 §2 says version 1; some servers answer 5. Only the status counts.
        return piece[1] === 0 ? this.sendRequest() : this.fail('EACCES', 'does not accept this user name and password')
      case REPLY:
        if (piece[0] !== VERSION) return this.garbage(piece)
        if (piece[1] !== 0) return this.refused(piece[1])
        this.waitingFor = BOUND_TYPE
        return 3
      case BOUND_TYPE: {
        const length = restLength(piece[1], piece[2])
        if (length === 0) return this.fail('EPROTO', `answered with address type ${piece[1]}`)
        this.waitingFor = BOUND_REST
        this.boundType = piece[1]
        this.boundFirst = piece[2]
        return length
      }
      default:
        return this.handOver(piece)
    }
  }

  private takeMethod(method: number): number {
    const { credentials } = this.proxy
    if (method === NO_AUTHENTICATION) return this.sendRequest()
    if (method === USERNAME_PASSWORD && credentials) {
      this.waitingFor = PASSWORD_STATUS
      this.write(credentials)
      return 2
    }
    if (method === NO_ACCEPTABLE_METHOD || method === USERNAME_PASSWORD) {
      return this.fail('EACCES', credentials ? 'takes neither no authentication nor a password' : 'wants a user name and a password')
    }
    return this.fail('EPROTO', `chose authentication method ${method}, which was not offered`)
  }

  private sendRequest(): number {
    this.waitingFor = REPLY
    this.write(this.request as Buffer)
    return 2
  }

  private write(bytes: Buffer): void {
    this.talk?.write(bytes)
  }

  private refused(reply: number): 0 {
    const [code, meaning] = REPLIES[reply - 1] ?? REPLIES[0]
    const said = `${this.proxy.name} answered ${reply} (${reply <= REPLIES.length ? meaning : 'unassigned'})`
    return this.end(new Socks5ReplyError(code, reply, `${said} for ${formatDestination(this.destination)}`))
  }

  private garbage(piece: Buffer): 0 {
    const hint = piece.toString('latin1') === 'HT' ? '; it speaks HTTP' : ''
    return this.fail('EPROTO', `does not speak SOCKS5: its answer begins with 0x${piece.toString('hex')}${hint}`)
  }

  private fail(code: string, what: string): 0 {
    return this.end(new DialError(code, `${this.proxy.name} ${what} (for ${formatDestination(this.destination)})`))
  }

  private end(error: Error): 0 {
    this.wanted = 0
    if (this.over) return 0
    this.cancel()
    this.caller.failed(error)
    return 0
  }

  private handOver(rest: Buffer): 0 {
    const { socket } = this
    const bound = decodeAddress(this.boundType, this.boundFirst, rest)
    if (bound.port === 0 && this.command === UDP_ASSOCIATE) return this.fail('EPROTO', 'takes datagrams at no port')
    this.wanted = 0
    this.letGo()
    this.caller.succeeded({ socket: socket as DialedSocket | Socket, bound })
    return 0
  }

  private letGo(): void {
    this.over = true
    clearTimeout(this.timer)
    this.talk?.letGo()
  }
}

const ignore = () => {}

function encodeCredentials(username: string, password: string): Buffer {
  const user = Buffer.from(username)
  const pass = Buffer.from(password)
  if (user.length === 0 || user.length > 255 || pass.length > 255) {
    throw Object.assign(new RangeError('a SOCKS5 user name has 1 to 255 bytes and a password at most 255 (RFC 1929)'), {
      code: 'ERR_TUN_PROXY_CREDENTIALS',
    })
  }
  return Buffer.concat([Buffer.from([PASSWORD_VERSION, user.length]), user, Buffer.from([pass.length]), pass])
}

function parseUrl(text: string | URL): Socks5Server {
  const url = URL.canParse(String(text)) ? new URL(text) : undefined
  if (!url || !/^socks5h?:$/.test(url.protocol) || url.hostname === '' || url.port === '') {
    const shown = url ? `${url.protocol}//${url.host}` : 'this' // never its password
    throw Object.assign(new TypeError(`${shown} is no proxy address; write socks5://[user:password@]host:port`), {
      code: 'ERR_TUN_PROXY_URL',
    })
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port),
    username: url.username === '' ? undefined : unescapePercent(url.username),
    password: url.username === '' ? undefined : unescapePercent(url.password),
  }
}
