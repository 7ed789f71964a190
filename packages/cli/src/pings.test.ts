import { TunError } from '@tun/device'
import { describe, expect, it } from 'vitest'
import { answerPings, type IncomingPing, type PingMode } from './pings.js'

type Carry = Parameters<IncomingPing['forward']>[0]

/** What becomes of a ping to `address`; `failure`: what forwarding it ends with. */
function ping(address: string, told: string[], failure?: unknown): IncomingPing {
  return {
    destination: { address, family: 4 },
    forward: async () => {
      told.push('forwarded')
      return failure
    },
    ignore: () => void told.push('silence'),
    reply: () => told.push('reply') > 0,
    unreachable: why => void told.push(`unreachable ${why}`),
  }
}

describe('a ping of the command', () => {
  const carry: Carry = async () => true

  it.each<[PingMode, Carry | undefined, string, string]>([
    ['forward', carry, 'forwarded', 'ping 192.0.2.1 by DIRECT'],
    ['forward', undefined, 'unreachable prohibited', 'ping 192.0.2.1 refused: the proxy carries none'],
    ['reject', carry, 'unreachable prohibited', 'ping 192.0.2.1 answered by icmp: reject'],
    ['fake', undefined, 'reply', 'ping 192.0.2.1 answered by icmp: fake'],
    ['drop', carry, 'silence', 'ping 192.0.2.1 answered by icmp: drop'],
  ])('icmp: %s: it is carried on only where the way out carries pings, and logged once a host', async (mode, way, outcome, line) => {
    const [told, lines]: string[][] = [[], []]
    const answer = answerPings(mode, way, () => expect.unreachable(), lines.push.bind(lines) as (line: string) => void)
    await answer(ping('192.0.2.1', told))
    await answer(ping('192.0.2.1', told))
    expect([told, lines]).toEqual([[outcome, outcome], [line]])
  })

  it('that this user may send none is said once, with what permits it; what the network says of a host is not', async () => {
    const said: string[] = []
    const answer = answerPings(
      'forward',
      carry,
      line => said.push(line),
      () => {},
    )
    const denied = new TunError('ERR_TUN_PERMISSION', 'this user may open no ping socket (EACCES)', { hint: 'sudo sysctl' })
    for (const failure of [Object.assign(new Error('no route'), { code: 'ENETUNREACH' }), denied, denied]) {
      await answer(ping('192.0.2.1', [], failure))
    }
    expect(said).toEqual(['pings are refused: this user may open no ping socket (EACCES)', 'sudo sysctl'])
  })
})
