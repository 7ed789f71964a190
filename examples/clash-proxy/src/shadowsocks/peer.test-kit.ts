// Owns: the other end of Shadowsocks for tests, written a second time from SIP004 and slow: HKDF by hand, one nonce a call, no streaming.
// And what ss-local of shadowsocks-libev 3.3.5 (Debian) sent with PASSWORD, recorded in the place of a server.

import { type CipherGCMTypes, createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'

export const PASSWORD = 'correct horse'

const ALGORITHMS: Record<string, [algorithm: string, length: number]> = {
  'aes-128-gcm': ['aes-128-gcm', 16],
  'aes-192-gcm': ['aes-192-gcm', 24],
  'aes-256-gcm': ['aes-256-gcm', 32],
  'chacha20-ietf-poly1305': ['chacha20-poly1305', 32],
}

export class NaivePeer {
  readonly saltLength: number
  private readonly algorithm: CipherGCMTypes
  private readonly key: Buffer

  constructor(cipher: string, password = PASSWORD) {
    const [algorithm, length] = ALGORITHMS[cipher]
    this.algorithm = algorithm as CipherGCMTypes
    this.saltLength = length
    const md5 = (...parts: (string | Buffer)[]) =>
      createHash('md5')
        .update(Buffer.concat(parts.map(part => Buffer.from(part))))
        .digest()
    const first = md5(password)
    this.key = Buffer.concat([first, md5(first, password)]).subarray(0, length)
  }

  seal(salt: Buffer, nonce: number, plain: Buffer): Buffer {
    const cipher = createCipheriv(this.algorithm, this.subkey(salt), nonceOf(nonce), { authTagLength: 16 })
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** @throws if it is not authentic */
  open(salt: Buffer, nonce: number, sealed: Buffer): Buffer {
    const decipher = createDecipheriv(this.algorithm, this.subkey(salt), nonceOf(nonce), { authTagLength: 16 })
    decipher.setAuthTag(sealed.subarray(-16))
    return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
  }

  /** A whole stream, one chunk for each payload; `lengths` are what the chunks say. */
  stream(payloads: readonly Buffer[], lengths = payloads.map(payload => payload.length), salt = randomBytes(this.saltLength)): Buffer {
    const chunks = payloads.map((payload, i) => {
      const length = Buffer.from([lengths[i] >> 8, lengths[i] & 0xff])
      return Buffer.concat([this.seal(salt, 2 * i, length), this.seal(salt, 2 * i + 1, payload)])
    })
    return Buffer.concat([salt, ...chunks])
  }

  /** The payloads of a whole stream. */
  payloads(stream: Buffer): Buffer[] {
    const salt = stream.subarray(0, this.saltLength)
    const payloads: Buffer[] = []
    for (let at = this.saltLength, nonce = 0; at < stream.length; nonce += 2) {
      const length = this.open(salt, nonce, stream.subarray(at, at + 18)).readUInt16BE(0)
      payloads.push(this.open(salt, nonce + 1, stream.subarray(at + 18, at + 18 + length + 16)))
      at += 18 + length + 16
    }
    return payloads
  }

  datagram(plain: Buffer, salt = randomBytes(this.saltLength)): Buffer {
    return Buffer.concat([salt, this.seal(salt, 0, plain)])
  }

  plain(datagram: Buffer): Buffer {
    return this.open(datagram.subarray(0, this.saltLength), 0, datagram.subarray(this.saltLength))
  }

  /** RFC 5869 with SHA-1: extract, then expand. */
  private subkey(salt: Buffer): Buffer {
    const extracted = createHmac('sha1', salt).update(this.key).digest()
    const one = createHmac('sha1', extracted).update('ss-subkey\x01').digest()
    const two = createHmac('sha1', extracted)
      .update(Buffer.concat([one, Buffer.from('ss-subkey\x02')]))
      .digest()
    return Buffer.concat([one, two]).subarray(0, this.saltLength)
  }
}

function nonceOf(count: number): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32LE(count)
  return nonce
}

/** SOCKS addresses as they stand in front of a payload. */
export const EXAMPLE_ORG_443 = Buffer.from('030b6578616d706c652e6f726701bb', 'hex')
export const V4_3478 = Buffer.from('01c00002070d96', 'hex') // 192.0.2.7

/** Cipher → what ss-local sent for "GET / HTTP/1.0" to example.org:443, and for the datagram "ping" to 192.0.2.7:3478. */
export const RECORDED: readonly [cipher: string, stream: string, datagram: string][] = [
  [
    'aes-128-gcm',
    '20a6d42aa68c7bf1fb74686f503f5de334cdce427feccbf859531992b3f59357dcd5de683514cfdfcb751bb3fca31370af68' +
      'df999ac6e620440f4486b84fd0dbd8f554658a0566d71626c8f9f0dff11b87ad99002c16ca9133652d92c09d73033cfa40f6' +
      'c7c3f59326ba537af3d70d4df4cc500f6b',
    'b4f243df2c450f27581d9d977a116a4148d696b3f5a3bc1f57c7b5b3603f4a1143f3510c32d92a8d549137',
  ],
  [
    'aes-192-gcm',
    '623f8d767ffee09d2754c0ad194cc313b892b3e1bbaacc54e59372ada43bb4bcbbc809f8cd5c512d3dd28aaae947e43cd5a4' +
      '0d9120cbce0730386ee59f05658b17786f03203538505fe5cc14b86079f7ce11582b7e9946bef6755d09a0f6ef72a291438c' +
      '078c76e7e2998b2fc12406ef880262501f3e7784068c59dba6',
    '94c4ffab30548072add20e2a5857f61743f02478d8b7abbdfb3444b41c7ec1fa807562b556aee296fec6fc087324b1cc0780' + 'e0',
  ],
  [
    'aes-256-gcm',
    'fb3be7de7dabb52931e869c5731f02a2fcbf443581a3103e35fa1700f1e58c7f17c7016c392865385df8d29bcc90feb15419' +
      'd6043a0c29229aaa7e3a1b86d7125a7724f7bfef6b5b0e4364dae40bdfdba38cd25f3e434166134a3b0c14ac7e72883da506' +
      '060909ad552a3e96d7806adba9e9b873aeac3bf7a70fdc0f265f0bcd47d067e20c',
    '662bcce73a5c7165d952dde906c20ff3f08c8735a467f45e5962e0a9d75c84a70a9e9b41d7579bab848cf5f84ac565e380d9' + '8d031be6d1424b8054',
  ],
  [
    'chacha20-ietf-poly1305',
    '9923cb11b56e7a222d4bf14a0b89901a7204c7cd0df95e8bdd3430d0085107590313c4e3019356ab56584af2a9f2de8c14d2' +
      '6b4f4a6ce92956a2977f7efe8b8741c89f547b2575e4d05867d5307fcb13aeb0c060c8d5c0da4055b1051674971079f65606' +
      '28f0275186a40aa300c3bfc1f33169dbdc48875b928d69a8bb6c80f50d7ff4ceda',
    '814c264c91822addfcb53f48f732515359aa21a940ea1a78127fc1365ca08480ec2647b67b44da1e1233567e85c7bc2a743f' + 'cfacd292932d10dc4c',
  ],
]
