// Owns: what a cross build made, read from its own bytes: for which machine it is, what it exports, and what it expects to find.
// Mach-O: mach-o/loader.h, mach-o/nlist.h. PE: Microsoft's "PE Format". ELF: elf(5). 64 bits, little endian.

import { readFileSync } from 'node:fs'

/**
 * @typedef {{
 *   format: 'mach-o' | 'pe' | 'elf',
 *   arch: string,
 *   exports: string[],
 *   imports: { from: string, name: string }[],
 *   notes: Record<string, string>,
 * }} ObjectFile
 * `from`: the library or program that has it; '*': whoever has it when the file is loaded.
 */

/** @returns {ObjectFile} */
export function readObjectFile(/** @type {string} */ path) {
  const bytes = readFileSync(path)
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return machO(bytes)
  if (bytes.readUInt32BE(0) === 0x7f454c46) return elf(bytes)
  if (bytes.toString('latin1', 0, 2) === 'MZ') return pe(bytes)
  throw new Error(`${path}: neither Mach-O nor PE nor ELF`)
}

function text(/** @type {Buffer} */ bytes, /** @type {number} */ at) {
  return bytes.toString('latin1', at, bytes.indexOf(0, at))
}

function archOf(/** @type {number} */ machine, /** @type {number} */ x64, /** @type {number} */ arm64) {
  return machine === x64 ? 'x64' : machine === arm64 ? 'arm64' : 'unknown'
}

/** @returns {ObjectFile} */
function machO(/** @type {Buffer} */ bytes) {
  const arch = archOf(bytes.readUInt32LE(4), 0x01000007, 0x0100000c)
  /** @type {ObjectFile} */
  const file = { format: 'mach-o', arch, exports: [], imports: [], notes: { signature: 'none' } }
  const libraries = ['itself']
  let symbols = 0
  let info = 0
  for (let at = 32, left = bytes.readUInt32LE(16); left > 0; left--, at += bytes.readUInt32LE(at + 4)) {
    const command = bytes.readUInt32LE(at)
    if (command === 0xc) libraries.push(text(bytes, at + bytes.readUInt32LE(at + 8)))
    if (command === 0x2) symbols = at
    if (command === 0x1d) file.notes.signature = 'ad hoc'
    if ((command & 0x7fffffff) === 0x22) info = at
    if (command === 0x32) file.notes.oldest = `${bytes.readUInt16LE(at + 14)}.${bytes[at + 13]}`
  }
  if (info > 0) file.imports = binds(bytes, info, libraries)
  const [table, count, strings] = [8, 12, 16].map(offset => bytes.readUInt32LE(symbols + offset))
  for (let i = 0; i < count; i++) {
    const at = table + 16 * i
    const type = bytes[at + 4]
    if (type & 0xe0 || !(type & 1)) continue // debugging, or local
    if (type & 0x0e) file.exports.push(text(bytes, strings + bytes.readUInt32LE(at)).replace(/^_/, ''))
  }
  return file
}

/** What dyld looks for, and where: the opcodes of LC_DYLD_INFO, of which the symbol table's ordinals are but a copy. */
function binds(/** @type {Buffer} */ bytes, /** @type {number} */ command, /** @type {string[]} */ libraries) {
  /** @type {ObjectFile['imports']} */
  const imports = []
  for (const field of [16, 32]) {
    let at = bytes.readUInt32LE(command + field)
    const end = at + bytes.readUInt32LE(command + field + 4)
    let ordinal = 0
    let name = ''
    const uleb = () => {
      let value = 0
      for (let shift = 1; ; shift *= 128) {
        const byte = bytes[at++]
        value += (byte & 127) * shift
        if (byte < 128) return value
      }
    }
    while (at < end) {
      const opcode = bytes[at] & 0xf0
      const immediate = bytes[at++] & 15
      if (opcode === 0x10) ordinal = immediate
      else if (opcode === 0x20) ordinal = uleb()
      else if (opcode === 0x30) ordinal = immediate === 0 ? 0 : immediate - 16
      else if (opcode === 0x40) {
        name = text(bytes, at)
        at += name.length + 1
      } else if (opcode === 0x60 || opcode === 0x70 || opcode === 0x80) uleb()
      if (opcode >= 0x90) {
        imports.push({ from: ordinal === -2 ? '*' : (libraries[ordinal] ?? String(ordinal)), name: name.replace(/^_/, '') })
        if (opcode === 0xa0 || opcode === 0xc0) uleb()
        if (opcode === 0xc0) uleb()
      }
    }
  }
  return imports
}

/** @returns {ObjectFile} */
function pe(/** @type {Buffer} */ bytes) {
  const header = bytes.readUInt32LE(0x3c)
  const arch = archOf(bytes.readUInt16LE(header + 4), 0x8664, 0xaa64)
  /** @type {ObjectFile} */
  const file = { format: 'pe', arch, exports: [], imports: [], notes: {} }
  const optional = header + 24
  const sections = optional + bytes.readUInt16LE(header + 20)
  const sectionCount = bytes.readUInt16LE(header + 6)
  /** Where a virtual address lies in the file. */
  const place = (/** @type {number} */ address) => {
    for (let i = 0; i < sectionCount; i++) {
      const [size, start, , raw] = [8, 12, 16, 20].map(offset => bytes.readUInt32LE(sections + 40 * i + offset))
      if (address >= start && address < start + size) return address - start + raw
    }
    throw new Error(`address ${address} is in no section`)
  }
  const [exportsAt, importsAt] = [112, 120].map(offset => bytes.readUInt32LE(optional + offset))
  if (exportsAt > 0) {
    const directory = place(exportsAt)
    const names = place(bytes.readUInt32LE(directory + 32))
    for (let i = 0; i < bytes.readUInt32LE(directory + 24); i++) file.exports.push(text(bytes, place(bytes.readUInt32LE(names + 4 * i))))
  }
  for (let entry = place(importsAt); bytes.readUInt32LE(entry + 12) !== 0; entry += 20) {
    const from = text(bytes, place(bytes.readUInt32LE(entry + 12)))
    const lookup = place(bytes.readUInt32LE(entry) || bytes.readUInt32LE(entry + 16))
    for (let at = lookup; bytes.readBigUInt64LE(at) !== 0n; at += 8) {
      if (bytes.readUInt32LE(at + 4) & 0x80000000) continue // by number
      file.imports.push({ from, name: text(bytes, place(bytes.readUInt32LE(at)) + 2) })
    }
  }
  return file
}

/** @returns {ObjectFile} */
function elf(/** @type {Buffer} */ bytes) {
  const arch = archOf(bytes.readUInt16LE(18), 62, 183)
  /** @type {ObjectFile} */
  const file = { format: 'elf', arch, exports: [], imports: [], notes: {} }
  const table = Number(bytes.readBigUInt64LE(40))
  const size = bytes.readUInt16LE(58)
  const number = (/** @type {number} */ section, /** @type {number} */ field) =>
    Number(bytes.readBigUInt64LE(table + size * section + field))
  for (let section = 0; section < bytes.readUInt16LE(60); section++) {
    if (bytes.readUInt32LE(table + size * section + 4) !== 11) continue // SHT_DYNSYM
    const strings = number(bytes.readUInt32LE(table + size * section + 40), 24)
    for (let at = number(section, 24), end = at + number(section, 32); at < end; at += 24) {
      const name = text(bytes, strings + bytes.readUInt32LE(at))
      if (name === '') continue
      if (bytes.readUInt16LE(at + 6) === 0) file.imports.push({ from: '*', name })
      else file.exports.push(name)
    }
  }
  return file
}
