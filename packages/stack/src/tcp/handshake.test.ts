import { test } from 'vitest'
import { Script } from '../testing/script.js'

test('x', () => {
  const t = new Script()
  t.recv('S 1000:1000 win 65535 <mss 1460,sackOK,TS val 5 ecr 0,wscale 7>')
  t.sent('SA 0:0 ack 1001 win 65535 <mss 1460,sackOK,TS val 0 ecr 5,wscale 7>')
  t.recv('A 1001:1001 ack 1')
  t.write(100)
  t.sent('PA 1:101 ack 1001')
  t.recv('PA 1001:1501 ack 101')
  t.advance(40)
  t.sent('A 101:101 ack 1501 <TS val 40 ecr 5>')
})
