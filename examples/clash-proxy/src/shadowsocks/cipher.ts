// Owns: the cryptography of Shadowsocks AEAD: password → key → a key for each salt, and sealing by them. Read SIP004, RFC 5869 (HKDF),
// RFC 5116 (AEAD), RFC 8439 (ChaCha20-Poly1305).

import { type CipherGCMTypes, createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'

export interface Cipher {
  /** As node:crypto calls it. */
  readonly algorithm: CipherGCMTypes
  /** Bytes of the key, and of the salt (SIP004). */
  readonly keyLength: number
}

const CIPHERS: ReadonlyMap<string, Cipher> = new Map([
  ['aes-128-gcm', { algorithm: 'aes-128-gcm', keyLength: 16 }],
  ['aes-192-gcm', { algorithm: 'aes-192-gcm', keyLength: 24 }],
  ['aes-256-gcm', { algorithm: 'aes-256-gcm', keyLength: 32 }],
  // Its options and methods are those of GCM, which is what the declarations of Node's types lack.
  ['chacha20-ietf-poly1305', { algorithm: 'chacha20-poly1305' as CipherGCMTypes, keyLength: 32 }],
])

/** What a configuration may write as `cipher`. */
export const CIPHER_NAMES: readonly string[] = [...CIPHERS.keys()]

export function findCipher(name: string): Cipher | undefined {
  return CIPHERS.get(name.toLowerCase())
}

const NONCE_LENGTH = 12
export const TAG_LENGTH = 16
const SUBKEY_INFO = 'ss-subkey' // SIP004

/** What both ends know: the cipher and the key that the password stands for. */
export class Secret {
  readonly saltLength: number
  private readonly key: Buffer

  constructor(
    private readonly cipher: Cipher,
    password: string,
  ) {
    this.saltLength = cipher.keyLength
    this.key = bytesToKey(Buffer.from(password), cipher.keyLength)
  }

  /** What is sealed behind this salt, in one direction. */
  session(salt: Uint8Array): Session {
    const { keyLength } = this.cipher
    return new Session(this.cipher, new Uint8Array(hkdfSync('sha1', this.key, salt, SUBKEY_INFO, keyLength)))
  }
}

/** A stream's pieces in one direction, or the one piece of a datagram: each gets the next nonce. */
export class Session {
  /** A little-endian counter. */
  private readonly nonce = new Uint8Array(NONCE_LENGTH)

  constructor(
    private readonly cipher: Cipher,
    private readonly subkey: Uint8Array,
  ) {}

  /** The ciphertext of `parts` as one piece; its tag is the last buffer. */
  seal(...parts: readonly Uint8Array[]): Buffer[] {
    const cipher = createCipheriv(this.cipher.algorithm, this.subkey, this.nonce, { authTagLength: TAG_LENGTH })
    const sealed = parts.map(part => cipher.update(part))
    cipher.final()
    sealed.push(cipher.getAuthTag())
    this.count()
    return sealed
  }

  /** The plaintext of one piece, tag included, in a buffer of its own; undefined: nobody with our key sealed it as this piece. */
  open(sealed: Uint8Array): Buffer | undefined {
    const end = sealed.length - TAG_LENGTH
    if (end < 0) return undefined
    const decipher = createDecipheriv(this.cipher.algorithm, this.subkey, this.nonce, { authTagLength: TAG_LENGTH })
    decipher.setAuthTag(sealed.subarray(end))
    const plain = decipher.update(sealed.subarray(0, end))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    this.count()
    return plain
  }

  private count(): void {
    for (let i = 0; i < NONCE_LENGTH; i++) {
      this.nonce[i]++
      if (this.nonce[i] !== 0) return // no carry
    }
  }
}

/** EVP_BytesToKey(3) of OpenSSL with MD5, one round and no salt. It is no protection against guessing: passwords should be random. */
function bytesToKey(password: Buffer, length: number): Buffer {
  let key = Buffer.alloc(0)
  for (let last = key; key.length < length; key = Buffer.concat([key, last])) {
    last = createHash('md5').update(last).update(password).digest()
  }
  return key.subarray(0, length)
}
