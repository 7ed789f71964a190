import { networkInterfaces } from 'node:os'
import { expect, test, vi } from 'vitest'
import { asSeenFrom } from './direct-reports.js'

vi.mock('node:os', async original => ({
  ...(await original<typeof import('node:os')>()),
  networkInterfaces: vi.fn(() => ({ eth0: [{ address: '10.86.0.2' }, { address: 'fe80::7%eth0' }] })),
}))

const asked = { address: '203.0.113.10', family: 4 }
const asked6 = { address: '2001:db8::10', family: 6 }
const fake = { address: '198.18.0.9', family: 4 }
const fake6 = { address: 'fd00::9', family: 6 }
const report = { type: 11, code: 0, from: '192.0.2.7', mtu: 0, ttl: 60 }

test('what a router said stays as it is; what the destination said comes from the address that the application knows', () => {
  expect(asSeenFrom(report, asked, asked)).toEqual(report)
  expect(asSeenFrom(report, asked, fake)).toEqual(report)
  expect(asSeenFrom({ ...report, from: asked.address }, asked, fake)).toEqual({ ...report, from: fake.address })
})

test('what this machine said comes from nobody, which is the gateway; its addresses are not asked for with every error', () => {
  vi.mocked(networkInterfaces).mockClear()
  for (const from of ['10.86.0.2', 'fe80::7', '10.86.0.2'])
    expect(asSeenFrom({ ...report, from }, asked, fake)).toEqual({ ...report, from: '' })
  expect(vi.mocked(networkInterfaces).mock.calls.length).toBeLessThan(2)
})

test('an error of the other family is the same in this one, from gateway or destination (RFC 7915); a foreign MTU is nobody’s', () => {
  expect(asSeenFrom({ type: 3, code: 0, from: '2001:db8::7' }, asked6, fake)).toEqual({ type: 11, code: 0, from: '' })
  expect(asSeenFrom({ type: 1, code: 4, from: '2001:db8::7' }, asked6, fake)).toEqual({ type: 3, code: 1, from: fake.address })
  expect(asSeenFrom({ type: 11, code: 0, from: '192.0.2.7' }, asked, fake6)).toEqual({ type: 3, code: 0, from: '' })
  expect(asSeenFrom({ type: 3, code: 13, from: '192.0.2.7' }, asked, fake6)).toEqual({ type: 1, code: 3, from: fake6.address })
  expect(asSeenFrom({ type: 2, code: 0, from: '2001:db8::7', mtu: 1280 }, asked6, fake)).toBe(undefined)
})
