// Owns: CONNECT through an HTTP/1.1 proxy, plain or over TLS. Read RFC 9110 §9.3.6 (CONNECT), §11.7 (proxy authentication), RFC 9112
// §3.2.3.

import { isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { connectTcp, type DirectOptions, guard, type Lookup } from './direct.js'
import { abortReason, type Destination, DialError, formatDestination, type Outbound } from './outbound.js'
import { unescapePercent } from './proxy-url.js'

export interface HttpProxy {
  host: string
  port: number
  username?: string
  password?: string
  /** TLS to the proxy itself (`https://`); its certificate is verified against `host`. */
  tls?: boolean
}

export interface HttpConnectOptions extends Pick<DirectOptions, 'localAddress' | 'localAddress6'> {
  /** Milliseconds from the connect to the proxy until its answer to CONNECT. Default 10,000. */
  dialTimeoutMs?: number
  /** Resolves the proxy's own name. Default: the system's resolver. */
  lookup?: Lookup
}

const DIAL_TIMEOUT = 10_000 // ms
/** Status line and header fields of the answer; a proxy has no reason to say more. */
const MAX_HEAD = 16 * 1024
const END_OF_HEAD = '\r\n\r\n'

/** Status → what the application behind the TUN is told. Others are the proxy's own trouble: a reset. */
const CODES: Record<number, string> = {
  401: 'EACCES',
  403: 'EACCES',
  404: 'EHOSTUNREACH',
  405: 'EOPNOTSUPP',
  407: 'EACCES',
  502: 'ECONNREFUSED', // squid, tinyproxy: the origin refused
  503: 'EHOSTUNREACH', // squid: its name or address was no good
  504: 'ETIMEDOUT',
}

/**
 * An outbound through an HTTP proxy: `httpConnect('http://user:password@127.0.0.1:3128')`, or `https://…` for TLS to the proxy. A
 * destination with a `host` is asked for by that name. It carries TCP only. Streams are exactly `net.Socket`s, or TLSSockets for
 * `https://`.
 *
 * Errors by `code`: those of connect(2) when the proxy is out of reach; ETIMEDOUT if it stays silent; EPROTO if it speaks something else;
 * its refusals as EACCES (401, 403, 407), EHOSTUNREACH (404, 503), ECONNREFUSED (502), ETIMEDOUT (504), EOPNOTSUPP (405), ECONNRESET (all
 * else).
 * @throws TypeError ERR_TUN_PROXY_URL, RangeError ERR_TUN_PROXY_CREDENTIALS
 */
export function httpConnect(proxy: string | URL | HttpProxy, options: HttpConnectOptions = {}): Outbound {
  const server = typeof proxy === 'string' || proxy instanceof URL ? parseUrl(proxy) : proxy
  const name = `HTTP proxy ${formatDestination({ address: server.host, port: server.port, family: 4 })}`
  const authorization = authorizationOf(server)
  return { dial: (destination, signal) => dial(server, name, authorization, options, destination, signal) }
}

async function dial(
  server: HttpProxy,
  name: string,
  authorization: string,
  options: HttpConnectOptions,
  destination: Destination,
  signal?: AbortSignal,
): Promise<Socket> {
  const target = formatDestination(destination)
  // A name is bytes of the application's choosing: none may end the line.
  if (/[^!-~]/.test(target)) throw new DialError('EINVAL', `${JSON.stringify(target)} cannot be put into a CONNECT request`)
  const timeoutMs = options.dialTimeoutMs ?? DIAL_TIMEOUT
  const deadline = performance.now() + timeoutMs
  let socket: Socket
  try {
    const { lookup, localAddress, localAddress6 } = options
    const { host, port } = server
    socket = await connectTcp(
      { address: host, host, port, family: 4 },
      { connectTimeoutMs: timeoutMs, lookup, localAddress, localAddress6 },
      signal,
    )
  } catch (error) {
    if (signal?.aborted) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw new DialError(code ?? 'ECONNRESET', `${name} cannot be reached: ${message}`, { cause: error })
  }
  if (server.tls) {
    const servername = isIP(server.host) ? undefined : server.host // RFC 6066 §3: no addresses; the certificate is checked against `host`
    socket = connectTls({ socket, host: server.host, servername, ALPNProtocols: ['http/1.1'], allowHalfOpen: true } as object)
  }
  const request = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n`
  return converse(socket, request, `${name} (for ${target})`, deadline - performance.now(), signal)
}

/** Sends the request and reads exactly the answer's head: what came behind it goes back into the stream. */
function converse(socket: Socket, request: string, name: string, timeoutMs: number, signal?: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let head = ''
    let bytes = 0
    const letGo = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onError)
    }
    const fail = (error: Error) => {
      letGo()
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const onAbort = () => fail(abortReason(signal as AbortSignal))
    const onEnd = () => fail(new DialError('ECONNRESET', `${name} closed the connection without an answer`))
    const onError = (error: NodeJS.ErrnoException) => fail(new DialError(error.code ?? 'ECONNRESET', `${name} failed: ${error.message}`))
    const onReadable = () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        let before = head.length
        bytes += chunk.length
        head += chunk.toString('latin1')
        let end = head.indexOf(END_OF_HEAD)
        // RFC 9110 §15.2: any number of interim answers, 100 or 103, may come first; 101 is none.
        for (; end >= 0 && /^HTTP\/1\.1 1(?!01)\d\d[ \r]/.test(head); end = head.indexOf(END_OF_HEAD)) {
          head = head.slice(end + END_OF_HEAD.length)
          before -= end + END_OF_HEAD.length
        }
        if (end < 0 && bytes <= MAX_HEAD) continue
        if (end < 0) return fail(new DialError('EPROTO', `${name} answered with a head of more than ${MAX_HEAD} bytes`))
        const refusal = refusalIn(head, name)
        if (refusal) return fail(refusal)
        letGo()
        guard(socket)
        const rest = chunk.subarray(end + END_OF_HEAD.length - before)
        if (rest.length > 0) socket.unshift(rest)
        return resolve(socket)
      }
    }
    const timer = setTimeout(() => fail(new DialError('ETIMEDOUT', `${name} did not answer in time`)), timeoutMs)
    socket.on('readable', onReadable).on('end', onEnd).on('close', onEnd).on('error', onError)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    else socket.write(request)
  })
}

/** Any 2xx is a yes (RFC 9110 §9.3.6); its header fields say nothing about the tunnel. */
function refusalIn(head: string, name: string): DialError | null {
  const status = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?\r\n/.exec(head)
  if (status === null) return new DialError('EPROTO', `${name} does not speak HTTP/1.1: it answered ${JSON.stringify(head.slice(0, 20))}`)
  const code = Number(status[1])
  if (code >= 200 && code < 300) return null
  return new DialError(CODES[code] ?? 'ECONNRESET', `${name} answered ${code} ${status[2] ?? ''}`.trimEnd())
}

function authorizationOf({ username, password }: HttpProxy): string {
  if (username === undefined && password === undefined) return ''
  const user = username ?? ''
  // RFC 7617 §2: the first colon ends the user name.
  if (user.includes(':')) {
    throw Object.assign(new RangeError('a user name for an HTTP proxy cannot contain a colon (RFC 7617)'), {
      code: 'ERR_TUN_PROXY_CREDENTIALS',
    })
  }
  return `Proxy-Authorization: Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}\r\n`
}

function parseUrl(text: string | URL): HttpProxy {
  const url = URL.canParse(String(text)) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    const shown = url ? `${url.protocol}//${url.host}` : 'this' // never its password
    throw Object.assign(new TypeError(`${shown} is no proxy address; write http://[user:password@]host:port`), {
      code: 'ERR_TUN_PROXY_URL',
    })
  }
  const tls = url.protocol === 'https:'
  const credential = (part: string) => (url.username === '' ? undefined : unescapePercent(part))
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port) || (tls ? 443 : 80),
    username: credential(url.username),
    password: credential(url.password),
    tls,
  }
}
