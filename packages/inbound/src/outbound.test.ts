import { constants } from 'node:os'
import { expect, test } from 'vitest'
import { abortReason, DialError, formatDestination } from './outbound.js'

test('a DialError looks like one of connect(2)', () => {
  expect(new DialError('EHOSTUNREACH', 'no')).toMatchObject({
    code: 'EHOSTUNREACH',
    errno: -constants.errno.EHOSTUNREACH,
    syscall: 'connect',
  })
  expect(new DialError('ERR_OF_NODE', 'no')).toMatchObject({ code: 'ERR_OF_NODE', errno: -constants.errno.ECONNABORTED })
})

test('a destination is shown by its name, and an IPv6 address in brackets', () => {
  expect(formatDestination({ address: '198.18.0.1', port: 443, family: 4, host: 'example.org' })).toBe('example.org:443')
  expect(formatDestination({ address: '192.0.2.1', port: 53, family: 4 })).toBe('192.0.2.1:53')
  expect(formatDestination({ address: '2001:db8::1', port: 53, family: 6 })).toBe('[2001:db8::1]:53')
})

test('an abort rejects with what was said, and with an error where that was none', () => {
  const reason = new Error('gone')
  expect(abortReason(AbortSignal.abort(reason))).toBe(reason)
  expect(abortReason(AbortSignal.abort('text'))).toMatchObject({ code: 'ECANCELED', cause: 'text' })
})
