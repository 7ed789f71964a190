import { expect, it } from 'vitest'
import { adapterGuid } from './windows.js'

it('an adapter has one GUID for ever, whatever the case of its name: a UUID of version 5', () => {
  const guid = Buffer.from(adapterGuid('tun0')).toString('hex')
  expect(Buffer.from(adapterGuid('TUN0')).toString('hex')).toBe(guid)
  expect(Buffer.from(adapterGuid('tun1')).toString('hex')).not.toBe(guid)
  expect(guid).toMatch(/^.{12}5.{3}[89ab].{15}$/)
  expect(guid).toMatchInlineSnapshot(`"c1bbe6c21e655b3e916fdb3c7b3eeabc"`)
})
