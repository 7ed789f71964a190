import { describe, expect, test } from 'vitest'
import { CIPHER_NAMES, findCipher, Secret } from './cipher.js'
import { NaivePeer, PASSWORD, RECORDED, V4_3478 } from './peer.test-kit.js'

const secretOf = (cipher: string, password = PASSWORD) => new Secret(findCipher(cipher)!, password)

test('every cipher has a recording to be measured by', () => {
  expect(RECORDED.map(([cipher]) => cipher)).toEqual(CIPHER_NAMES)
})

test('names are read in any case', () => {
  expect(findCipher('AES-128-GCM')).toBe(findCipher('aes-128-gcm'))
})

describe.each(RECORDED)('%s', (cipher, _, recorded) => {
  const secret = secretOf(cipher)
  const peer = new NaivePeer(cipher)
  const datagram = Buffer.from(recorded, 'hex')
  const salt = datagram.subarray(0, secret.saltLength)

  test('opens what ss-local sealed', () => {
    expect(secret.session(salt).open(datagram.subarray(salt.length))).toEqual(Buffer.concat([V4_3478, Buffer.from('ping')]))
  })

  test('seals what ss-local sealed to the same bytes', () => {
    expect(Buffer.concat([salt, ...secret.session(salt).seal(V4_3478, Buffer.from('ping'))])).toEqual(datagram)
  })

  test('with another password, another salt, or any bit turned, nothing opens', () => {
    const sealed = datagram.subarray(salt.length)
    expect(secretOf(cipher, 'correct horsf').session(salt).open(sealed)).toBeUndefined()
    expect(secret.session(salt.map(byte => byte ^ 1)).open(sealed)).toBeUndefined()
    for (let bit = 0; bit < 8 * sealed.length; bit++) {
      const turned = Buffer.from(sealed)
      turned[bit >> 3] ^= 1 << (bit & 7)
      expect(secret.session(salt).open(turned)).toBeUndefined()
    }
    for (let length = 0; length < sealed.length; length++) expect(secret.session(salt).open(sealed.subarray(0, length))).toBeUndefined()
  })

  test('nonces count in little-endian, with a carry', () => {
    const session = secret.session(salt)
    for (let count = 0; count < 600; count++) {
      const sealed = session.seal(Buffer.of(count & 0xff))
      if (count % 64 < 2) expect(Buffer.concat(sealed)).toEqual(peer.seal(salt, count, Buffer.of(count & 0xff)))
    }
  })
})
