// Owns: what a nameserver's parameters behind `#` change about its queries: types not asked for, and a client subnet. RFC 7871.

import { answerEmpty, readQuery, withOption } from '../message.js'
import type { Nameserver } from '../nameserver.js'
import type { Exchange } from './exchange.js'

const CLIENT_SUBNET = 8

/** The exchange, or one that does as the parameters say before it. */
export function withParameters({ disabled = [], clientSubnet }: Nameserver, exchange: Exchange): Exchange {
  if (disabled.length === 0 && clientSubnet === undefined) return exchange
  return {
    ask: async (query, signal) => {
      if (disabled.length > 0) {
        const asked = readQuery(query)
        if (disabled.includes(asked.type)) return answerEmpty(query, asked)
      }
      return exchange.ask(clientSubnet ? withOption(query, CLIENT_SUBNET, clientSubnet) : query, signal)
    },
    renew: () => exchange.renew(),
    close: () => exchange.close(),
  }
}
