// Owns: one nameserver over UDP: a fresh socket (kernel-chosen port) and a random id per query; an answer must come from the server asked,
// with that id and our question: RFC 5452 §9. Cut ones (TC) are asked for again over TCP: RFC 7766 §5.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { isAnswerTo, isBareError, type Query, readQuery } from '../message.js'
import type { Nameserver } from '../nameserver.js'
import { DatagramLines } from './datagram-lines.js'
import type { Exchange, ExchangeContext } from './exchange.js'
import { StreamExchange } from './stream.js'

export class UdpExchange implements Exchange {
  private readonly stream: StreamExchange
  private readonly lines: DatagramLines

  constructor(
    private readonly server: Nameserver,
    private readonly context: ExchangeContext,
  ) {
    this.stream = new StreamExchange({ ...server, transport: 'tcp' }, context)
    this.lines = new DatagramLines(context)
  }

  async ask(query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const server = await this.context.locate(this.server, signal)
    const carried = await this.lines.ask(server, query, signal)
    const answer = carried ?? (await this.askOnce(server, withRandomId(query), signal))
    if ((answer[2] & 0x02) === 0) return answer
    return this.stream.ask(query, signal).catch(() => answer) // cut, but the client can ask again
  }

  renew(): void {
    this.lines.renew()
    this.stream.renew()
  }

  close(): void {
    this.lines.close()
    this.stream.close()
  }

  private async askOnce(server: Nameserver, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { hooks, own, stats } = this.context
    const asked = readQuery(query)
    const socket = (await hooks.udp?.(server)) ?? createSocket(isIPv6(server.address) ? 'udp6' : 'udp4')
    return new Promise<Uint8Array>((done, fail) => {
      let forget = () => {}
      const end = (error: unknown, answer?: Uint8Array): void => {
        signal.removeEventListener('abort', onAbort)
        socket.removeAllListeners('message')
        forget()
        try {
          socket.close()
        } catch {
          // Already closed by its owner.
        }
        if (answer) done(answer)
        else fail(error)
      }
      const onAbort = (): void => end(signal.reason)
      socket.on('error', end) // stays: an ICMP error may come after the answer
      socket.on('message', answer => {
        if (answers(answer, query, asked)) end(null, answer)
        else stats.mismatched++ // may be forged: wait on
      })
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      // Connected: the kernel passes only the server's datagrams, and its ICMP refusals.
      socket.connect(server.port, server.address, (error?: Error) => {
        if (error) return end(error) // no route to it, for instance: Node hands it to the callback of 'connect'
        if (signal.aborted) return
        forget = own.addQuery(socket.address().port, asked.id)
        socket.send(query, failure => {
          if (failure) end(failure)
        })
      })
    })
  }
}

export function withRandomId(query: Uint8Array): Uint8Array {
  const own = new Uint8Array(query)
  const id = randomInt(0x10000)
  own[0] = id >> 8
  own[1] = id & 255
  return own
}

/** Is it the answer to our query, id and all? */
export function answers(answer: Uint8Array, query: Uint8Array, asked: Query): boolean {
  return answer[0] === query[0] && answer[1] === query[1] && (isAnswerTo(answer, query, asked) || isBareError(answer))
}
