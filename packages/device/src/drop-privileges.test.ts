import { describe, expect, it } from 'vitest'
import { findAccount, type Lookup } from './drop-privileges.js'

const ENTRIES: Record<string, string> = {
  'passwd nobody': 'nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin',
  'passwd 65534': 'nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin',
  'passwd root': 'root:x:0:0::/root:/bin/sh',
  'passwd 1000': 'alice:x:1000:1000::/:',
  'group net': 'net:x:77:alice',
  'group wheel': 'wheel:x:0:',
}
const lookup: Lookup = (database, key) => ENTRIES[`${database} ${key}`]

describe('an account', () => {
  it.each([
    ['nobody', { name: 'nobody', uid: 65534, gid: 65533, known: true }],
    ['65534', { name: 'nobody', uid: 65534, gid: 65533, known: true }],
    ['nobody:net', { name: 'nobody', uid: 65534, gid: 77, known: true }],
    ['nobody:5', { name: 'nobody', uid: 65534, gid: 5, known: true }],
    ['4000:5', { name: '4000', uid: 4000, gid: 5, known: false }],
  ])('%s is found by name or number, with the group that is named or its own', (text, account) => {
    expect(findAccount(text, lookup)).toEqual(account)
  })

  it.each([
    ['nemo', "there is no user 'nemo'; sudo useradd --system --no-create-home nemo"],
    ['nobody:nemo', "there is no group 'nemo'; sudo groupadd --system nemo"],
    ['4000', 'user 4000 has no entry, and so no group; write 4000:GROUP'],
    ['root', "user 'root' is root: nothing would be dropped; name another one, e.g. nobody"],
    ['0:5', "user '0' is root"],
    ['4294967295:5', 'there is no user'],
    ['-1:5', 'there is no user'],
    ['1e3:5', 'there is no user'],
    ['a:b:c', 'expected NAME or NAME:GROUP'],
    ['', 'expected NAME or NAME:GROUP'],
  ])('%j is refused, with the reason', (text, message) => {
    expect(() => findAccount(text, lookup)).toThrow(message)
  })
})
