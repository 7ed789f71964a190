// Owns: a Shadowsocks server as an outbound, with the AEAD ciphers of SIP004. The server never says whether it reached a destination:
// a connection stands as soon as the server does, and one that was refused behind it ends without a byte.

import { type Destination, DialError, direct, encodeSocksAddress, formatDestination, type Outbound } from '@tun/inbound'
import { CIPHER_NAMES, findCipher, Secret } from './cipher.js'
import { type Associate, openShadowsocksDatagrams } from './datagrams.js'
import { SaltFilter } from './salts.js'
import { ShadowsocksStream } from './stream.js'

export interface ShadowsocksServer {
  host: string
  port: number
  /** One of `CIPHER_NAMES`. */
  cipher: string
  password: string
  /** Whether it takes datagrams. Default true. */
  udp?: boolean
}

/**
 * An outbound through a Shadowsocks server, which is reached by `way`. A destination with a `host` goes to the server by that name.
 *
 * Errors of a dial by `code`: those of connect(2) when the server is out of reach; EINVAL for a name of more than 255 bytes. Of a stream:
 * EPROTO if what comes was not sealed with our key, or is a repetition; ECONNRESET if it breaks off.
 * @throws TypeError for a cipher that is none of ours
 */
export function shadowsocks(server: ShadowsocksServer, way: Outbound = direct()): Outbound {
  const { host, port, cipher, password, udp = true } = server
  const known = findCipher(cipher)
  if (known === undefined) throw new TypeError(`unknown cipher '${cipher}' (supported: ${CIPHER_NAMES.join(', ')})`)
  const at: Destination = { address: host, host, port, family: 4 }
  const name = `Shadowsocks server ${formatDestination(at)}`
  const session = { secret: new Secret(known, password), salts: new SaltFilter(), name }

  const dial: Outbound['dial'] = async (destination, signal) => {
    const address = encodeSocksAddress([], destination)
    if (!address) throw new DialError('EINVAL', `${formatDestination(destination)} cannot be told to a Shadowsocks server`)
    const socket = await way.dial(at, signal).catch((error: NodeJS.ErrnoException) => {
      if (signal?.aborted) throw error
      throw new DialError(error.code ?? 'ECONNRESET', `${name} cannot be reached: ${error.message}`, { cause: error })
    })
    return new ShadowsocksStream(socket, session, address)
  }
  if (!udp || !way.associate) return { dial }
  const associate: Associate = (flow, signal) => way.associate!(flow, signal)
  return { dial, associate: (flow, signal) => openShadowsocksDatagrams(associate, at, session, flow, signal) }
}
