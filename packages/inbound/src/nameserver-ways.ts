// Owns: how nameservers are reached that have something behind `#` (or, with `respect-rules`, all): an outbound, which carries streams and
// datagrams, or sockets with the address of an interface. All others use sockets of this machine, and nobody is asked here.

import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Nameserver, UpstreamDatagrams, UpstreamHooks } from '@tun/dns'
import { type Destination, DialError, type Outbound } from './outbound.js'

/** What `respect-rules` puts behind `#`, as mihomo's files may do themselves. */
export const RULES = 'RULES'

/** A nameserver about to be asked: its real address, its name if it has one, and what stands behind `#`. */
export interface NameserverDestination extends Destination {
  via: string
}

/**
 * Through what a nameserver is asked that has a proxy's name (or `RULES`) behind `#`; null: not at all, the query fails; 'own': by this
 * machine's own sockets, which are known again if the query comes back by the TUN; undefined: by those of the interface of that name.
 */
export type NameserverOutbound = (to: NameserverDestination, network: 'tcp' | 'udp') => Outbound | 'own' | null | undefined

export function nameserverWays(outboundFor: NameserverOutbound | undefined): UpstreamHooks {
  /** An outbound, or the address to bind to: undefined is any. */
  const wayTo = (to: Nameserver, network: 'tcp' | 'udp'): { outbound: Outbound; destination: Destination } | string | undefined => {
    if (to.via === undefined) return undefined
    const { address, port, host, via } = to
    const destination: Destination = { address, port, family: isIPv6(address) ? 6 : 4 }
    if (host !== undefined) Object.assign(destination, { host, real: true })
    const outbound = outboundFor?.({ ...destination, via }, network)
    if (outbound === null) throw new DialError('ECONNREFUSED', `'${via}' refuses to be the way to ${address}`)
    if (outbound === 'own') return undefined
    if (outbound) return { outbound, destination: { address, port, family: destination.family } }
    return localAddressFor(to)
  }
  return {
    tcp: (to, signal) => {
      const way = wayTo(to, 'tcp')
      if (way === undefined) return undefined
      if (typeof way === 'object') return way.outbound.dial(way.destination, signal)
      return connect({ host: to.address, port: to.port, localAddress: way, noDelay: true, autoSelectFamily: false })
    },
    datagrams: async (to, signal) => {
      const way = wayTo(to, 'udp')
      if (typeof way !== 'object') return undefined
      if (!way.outbound.associate) throw new DialError('ECONNREFUSED', `'${to.via}' carries no UDP: write tcp:// or tls://`)
      return overOutbound(way.outbound, way.destination, signal)
    },
    udp: to => {
      const address = wayTo(to, 'udp')
      if (address === undefined) return undefined
      if (typeof address === 'object') throw new DialError('EAGAIN', `the way to ${to.address} is another one by now`)
      const socket = createSocket(isIPv6(to.address) ? 'udp6' : 'udp4')
      return new Promise((resolve, reject) => {
        socket.once('error', reject)
        socket.bind({ address, port: 0 }, () => {
          socket.off('error', reject)
          resolve(socket)
        })
      })
    },
  }
}

/** Is there anything that `#name` can mean without an outbound? */
export function isInterface(name: string): boolean {
  return networkInterfaces()[name] !== undefined
}

async function overOutbound(outbound: Outbound, to: Destination, signal: AbortSignal): Promise<UpstreamDatagrams | undefined> {
  const association = await outbound.associate?.({ source: { address: '0.0.0.0', port: 0, family: 4 } }, signal)
  return (
    association && {
      send: query => association.send(query, to),
      onMessage: fn => association.onMessage(fn),
      closed: association.closed,
      close: () => association.close(),
    }
  )
}

/** The interface's address of the server's family; undefined: it is free to leave by any. */
function localAddressFor({ via, address }: Nameserver): string | undefined {
  if (via === undefined || via === RULES || via === 'DIRECT') return undefined
  const family = isIPv6(address) ? 'IPv6' : 'IPv4'
  const own = networkInterfaces()[via]
  if (own === undefined) throw new DialError('ENODEV', `there is no proxy and no interface '${via}'`)
  const found = own.find(entry => entry.family === family && !/^fe80:/i.test(entry.address))
  if (found === undefined) throw new DialError('EADDRNOTAVAIL', `the interface '${via}' has no ${family} address`)
  return found.address
}
