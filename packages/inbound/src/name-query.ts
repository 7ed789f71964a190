// Owns: the one kind of query we ask ourselves: a name, a type, recursion desired. RFC 1035 §4.1.

/** @throws RangeError if the name cannot be written: an empty or too long label, over 253 bytes */
export function nameQuery(host: string, type: number): Uint8Array {
  const labels = host.replace(/\.$/, '').split('.')
  const bytes: number[] = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
  for (const label of labels) {
    const encoded = new TextEncoder().encode(label)
    if (encoded.length === 0 || encoded.length > 63) throw new RangeError(`'${host}' is no name that DNS could carry`)
    bytes.push(encoded.length, ...encoded)
  }
  bytes.push(0, type >> 8, type & 255, 0, 1)
  if (bytes.length > 12 + 255 + 4) throw new RangeError(`'${host}' is longer than a name may be`)
  return Uint8Array.from(bytes)
}
