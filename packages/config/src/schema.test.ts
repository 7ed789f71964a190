import { expect, test } from 'vitest'
import { DNS_KEYS, TOP_KEYS, TUN_KEYS } from './known-keys.js'
import { configJsonSchema, dnsSchema, tunSchema } from './schema.js'

test('the JSON Schema describes every key that is acted on and leaves the others open', () => {
  const schema = configJsonSchema() as {
    properties: Record<string, { properties: Record<string, { description?: string }>; additionalProperties: object }>
  }
  expect(Object.keys(schema.properties.tun.properties)).toEqual(Object.keys(tunSchema.shape))
  expect(Object.keys(schema.properties.dns.properties)).toEqual(Object.keys(dnsSchema.shape))
  expect(schema.properties.tun.properties['device-url']).toMatchObject({ type: 'string', description: expect.stringContaining('dev://') })
  expect(schema.properties.tun.additionalProperties).toEqual({})
})

test('no key is both acted on and known as not acted on', () => {
  expect(Object.keys(TUN_KEYS).filter(key => key in tunSchema.shape)).toEqual([])
  expect(Object.keys(DNS_KEYS).filter(key => key in dnsSchema.shape)).toEqual([])
  expect(['tun', 'dns'].filter(key => key in TOP_KEYS)).toEqual([])
})
