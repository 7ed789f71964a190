import { describe, expect, test } from 'vitest'
import { Script } from '../testing/script.js'

// RFC 9293 §3.10.7.4 as a table: every step in every synchronized state. What a step means beyond that is in the files named for it:
// handshake, closing, receiver, sender, recovery; TIME-WAIT has no connection object and is in closing.

interface Scene {
  t: Script
  /** RCV.NXT, our SND.UNA and SND.NXT. */
  rcv: number
  una: number
  nxt: number
}

const open = (): Script => new Script().establish('mss 1000')

const SCENES: Record<string, () => Scene> = {
  'SYN-RECEIVED': () => {
    const t = new Script()
    t.recv('S 1000:1000 <mss 1000>')
    return { t, rcv: 1001, una: 0, nxt: 1 }
  },
  ESTABLISHED: () => ({ t: open(), rcv: 1001, una: 1, nxt: 1 }),
  'FIN-WAIT-1': () => {
    const t = open()
    t.end()
    return { t, rcv: 1001, una: 1, nxt: 2 }
  },
  'FIN-WAIT-2': () => {
    const t = open()
    t.end()
    t.recv('A 1001:1001 ack 2')
    return { t, rcv: 1001, una: 2, nxt: 2 }
  },
  'CLOSE-WAIT': () => {
    const t = open()
    t.recv('FA 1001:1001 ack 1')
    t.advance(40) // its delayed ACK
    return { t, rcv: 1002, una: 1, nxt: 1 }
  },
  CLOSING: () => {
    const t = open()
    t.end()
    t.recv('FA 1001:1001 ack 1')
    return { t, rcv: 1002, una: 1, nxt: 2 }
  },
  'LAST-ACK': () => {
    const t = open()
    t.recv('FA 1001:1001 ack 1')
    t.end()
    return { t, rcv: 1002, una: 1, nxt: 2 }
  },
}

const ALL = Object.keys(SCENES)
const TAKES_TEXT = ['ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2']
const NO_TEXT = ['CLOSE-WAIT', 'CLOSING', 'LAST-ACK']

function scene(state: string): Scene {
  const s = SCENES[state]()
  s.t.drainSent()
  expect(s.t.state).toBe(state)
  return s
}

/** <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, and nothing else has changed. */
function acknowledged({ t, nxt, rcv }: Scene, state: string): void {
  t.sent(`A ${nxt}:${nxt} ack ${rcv}`)
  t.sentNothing()
  expect(t.state).toBe(state)
}

describe('§3.10.7.4 first, sequence number', () => {
  test.each(ALL)('%s: beyond the window: acknowledged and dropped', state => {
    const s = scene(state)
    s.t.recv(`A ${s.rcv + 200_000}:${s.rcv + 200_000} ack ${s.nxt}`)
    acknowledged(s, state)
  })
  test.each(ALL)('%s: text wholly below the window: acknowledged and dropped', state => {
    const s = scene(state)
    s.t.recv(`PA ${s.rcv - 500}:${s.rcv - 400} ack ${s.nxt}`)
    acknowledged(s, state)
    expect(s.t.readBytes).toBe(0)
  })
  test.each(ALL)('%s: a RST outside the window: dropped in silence', state => {
    const s = scene(state)
    for (const seq of [s.rcv - 1, s.rcv - 5000, s.rcv + 200_000]) s.t.recv(`R ${seq}:${seq}`)
    s.t.sentNothing()
    expect(s.t.state).toBe(state)
  })
})

describe('§3.10.7.4 second, RST (RFC 5961 §3.2)', () => {
  test.each(ALL)('%s: exactly RCV.NXT: the connection ends, nothing is answered', state => {
    const s = scene(state)
    s.t.recv(`R ${s.rcv}:${s.rcv}`)
    s.t.sentNothing()
    expect([s.t.state, s.t.events.at(-1)]).toEqual(['CLOSED', 'gone ECONNRESET'])
    expect([s.t.stack.tcp.flows.size, s.t.stack.tcp.timeWait.size]).toEqual([0, 0])
  })
  test.each(ALL)('%s: elsewhere in the window: challenged', state => {
    const s = scene(state)
    s.t.recv(`R ${s.rcv + 1}:${s.rcv + 1}`)
    acknowledged(s, state)
  })
  test('SYN-RECEIVED of a connection that we opened (simultaneous open): refused', () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    t.recv('S 1000:1000 <mss 1000>')
    t.sent('SA 0:0')
    t.recv('R 1001:1001')
    expect(t.events.at(-1)).toBe('gone ECONNREFUSED')
  })
})

describe('§3.10.7.4 fourth, SYN (RFC 5961 §4.2)', () => {
  test.each(ALL)('%s: in the window: challenged', state => {
    const s = scene(state)
    s.t.recv(`S ${s.rcv + 100}:${s.rcv + 100} <mss 1000>`)
    acknowledged(s, state)
  })
})

describe('§3.10.7.4 fifth, ACK', () => {
  test.each(ALL)('%s: without ACK: dropped in silence', state => {
    const s = scene(state)
    s.t.recv(`FP ${s.rcv}:${s.rcv + 100}`)
    s.t.advance(50)
    s.t.sentNothing()
    expect([s.t.state, s.t.readBytes]).toEqual([state, 0])
  })
  test.each(ALL.slice(1))('%s: of what was never sent: acknowledged, its text dropped (RFC 5961 §5.2)', state => {
    const s = scene(state)
    s.t.recv(`PA ${s.rcv}:${s.rcv + 100} ack ${s.nxt + 1}`)
    acknowledged(s, state)
    expect(s.t.readBytes).toBe(0)
  })
  test('SYN-RECEIVED: of what was never sent: <SEQ=SEG.ACK><CTL=RST>, and the connection stays', () => {
    const s = scene('SYN-RECEIVED')
    s.t.recv('A 1001:1001 ack 77')
    s.t.sent('R 77:77')
    expect(s.t.state).toBe('SYN-RECEIVED')
  })
  test('SYN-RECEIVED: of our SYN: ESTABLISHED', () => {
    const s = scene('SYN-RECEIVED')
    s.t.recv('A 1001:1001 ack 1')
    expect(s.t.state).toBe('ESTABLISHED')
  })
  test.each(TAKES_TEXT)('%s: an old one is ignored, its text is taken', state => {
    const s = scene(state)
    s.t.recv(`PA ${s.rcv}:${s.rcv + 100} ack ${s.una - 1}`)
    expect([s.t.readBytes, s.t.connection.sndUna]).toEqual([100, (s.t.connection.iss + s.una) | 0])
  })
  test.each([
    ['FIN-WAIT-1', 'FIN-WAIT-2', 0],
    ['CLOSING', 'CLOSED', 1],
    ['LAST-ACK', 'CLOSED', 0],
  ])('%s: of our FIN: %s, and %i in TIME-WAIT', (state, next, waiting) => {
    const s = scene(state)
    s.t.recv(`A ${s.rcv}:${s.rcv} ack 2`)
    expect([s.t.state, s.t.stack.tcp.timeWait.size]).toEqual([next, waiting])
    s.t.sentNothing()
  })
})

describe('§3.10.7.4 seventh, text', () => {
  test.each(TAKES_TEXT)('%s: taken, told and acknowledged within 40 ms', state => {
    const s = scene(state)
    s.t.recv(`PA ${s.rcv}:${s.rcv + 100} ack ${s.una}`)
    expect(s.t.readBytes).toBe(100)
    s.t.advance(40)
    s.t.sent(`A ${s.nxt}:${s.nxt} ack ${s.rcv + 100}`)
  })
  test.each(NO_TEXT)('%s: ignored, for their FIN came before; acknowledged as it stands', state => {
    const s = scene(state)
    s.t.recv(`PA ${s.rcv}:${s.rcv + 100} ack ${s.una}`)
    acknowledged(s, state)
    expect(s.t.readBytes).toBe(0)
  })
})

describe('§3.10.7.4 eighth, FIN', () => {
  test.each([
    ['SYN-RECEIVED', 40, 'CLOSE-WAIT', 0],
    ['ESTABLISHED', 40, 'CLOSE-WAIT', 0],
    ['FIN-WAIT-1', 0, 'CLOSING', 0],
    ['FIN-WAIT-2', 0, 'CLOSED', 1],
  ])('%s: acknowledged after %i ms: %s, and %i in TIME-WAIT', (state, ms, next, waiting) => {
    const s = scene(state)
    s.t.recv(`FA ${s.rcv}:${s.rcv} ack ${Math.max(1, s.una)}`)
    s.t.advance(ms)
    s.t.sent(`A ${s.nxt}:${s.nxt} ack ${s.rcv + 1}`)
    expect([s.t.state, s.t.stack.tcp.timeWait.size]).toEqual([next, waiting])
    expect(s.t.events).toContain('ended')
  })
  test('FIN-WAIT-1: with the ACK of ours: TIME-WAIT at once', () => {
    const s = scene('FIN-WAIT-1')
    s.t.recv('FA 1001:1001 ack 2')
    s.t.sent('A 2:2 ack 1002')
    expect([s.t.state, s.t.stack.tcp.timeWait.size]).toEqual(['CLOSED', 1])
  })
  test.each(NO_TEXT)('%s: again: acknowledged again, the state stays', state => {
    const s = scene(state)
    s.t.recv(`FA ${s.rcv - 1}:${s.rcv - 1} ack ${s.una}`)
    acknowledged(s, state)
    expect(s.t.events.filter(e => e === 'ended').length).toBe(1)
  })
})

describe('§3.10.7.3, SYN-SENT', () => {
  const opening = () => {
    const t = new Script()
    t.connect()
    t.sent('S 0:0')
    return t
  }
  test.each([
    ['first: an ACK of something else is reset', 'A 500:500 ack 9', 'R 9:9'],
    ['first: so is one of nothing', 'A 500:500 ack 0', 'R 0:0'],
  ])('%s', (_, line, answer) => {
    const t = opening()
    t.recv(line)
    t.sent(answer)
    expect(t.state).toBe('SYN-SENT')
  })
  test.each([
    ['first: its RST is not', 'RA 500:500 ack 9'],
    ['second: a RST without ACK is not believed', 'R 500:500'],
    ['fifth: neither SYN nor RST: dropped', 'A 500:500 ack 1'],
    ['fifth: text without ACK too', 'P 500:600'],
  ])('%s', (_, line) => {
    const t = opening()
    t.recv(line)
    t.sentNothing()
    expect(t.state).toBe('SYN-SENT')
  })
  test('second: a RST with the ACK of our SYN: refused', () => {
    const t = opening()
    t.recv('RA 0:0 ack 1')
    t.sentNothing()
    expect(t.events.at(-1)).toBe('gone ECONNREFUSED')
  })
  test('fourth: SYN and ACK: ESTABLISHED, acknowledged at once', () => {
    const t = opening()
    t.recv('SA 1000:1000 ack 1 <mss 1000>')
    t.sent('A 1:1 ack 1001')
    expect(t.state).toBe('ESTABLISHED')
  })
  test('fourth: SYN alone: SYN-RECEIVED, our SYN again with the ACK', () => {
    const t = opening()
    t.recv('S 1000:1000 <mss 1000>')
    t.sent('SA 0:0 ack 1001')
    expect(t.state).toBe('SYN-RECEIVED')
  })
})
