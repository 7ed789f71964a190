import { describe, expect, it } from 'vitest'
import { readFile, wayOf } from './way.js'

describe('--proxy', () => {
  it('is direct without it, and SOCKS5 on port 1080 unless it says otherwise', () => {
    for (const text of [undefined, 'direct', 'DIRECT', 'direct://']) expect(wayOf(text)).toMatchObject({ name: 'DIRECT', isDirect: true })
    expect(wayOf('socks5://proxy')).toMatchObject({ name: 'socks5://proxy:1080', isDirect: false })
    expect(wayOf('socks5h://[::1]:9')).toMatchObject({ name: 'socks5://[::1]:9' })
  })

  it('never shows a password', () => {
    expect(wayOf('socks5://me:secret@proxy:1').name).toBe('socks5://proxy:1')
    expect(wayOf('http://me:secret@proxy:3128').name).toBe('http://proxy:3128')
  })

  it.each([
    ['127.0.0.1:1080', 'write socks5://127.0.0.1:1080'],
    ['ftp://127.0.0.1:8080', 'ftp:// is not supported; use socks5://host:port, http://host:port, or direct'],
    ['http://', 'no proxy address; write http://'],
    ['socks5://', 'no proxy address'],
    ['socks5://host:port', 'no proxy address'],
    ['socks5://host:99999', 'with a port from 1 to 65535'],
    ['http://host:0', 'with a port from 1 to 65535'],
    ['me:secret@host:1080', '--proxy: a scheme is missing; write socks5://user:password@host:1080'],
  ])('%s is told what to write', (text, message) => {
    expect(() => wayOf(text)).toThrow(message)
  })
})

describe('--config', () => {
  const office = 'proxies:\n  - { name: other, type: ss, server: s, port: 1 }\n  - { name: office, type: socks5, server: h, port: 1080 }\n'
  const read = (text: string) => readFile(text, 'c.yaml', undefined)

  it('takes the way that MATCH names, else the first socks5 proxy, else none', () => {
    expect(read(`${office}rules:\n  - MATCH,office\n`).way.name).toBe('office (socks5://h:1080)')
    expect(read(`${office}rules:\n  - MATCH,DIRECT\n`).way.name).toBe('DIRECT')
    expect(read(office).way.name).toBe('office (socks5://h:1080)')
    expect(read('dns:\n  enable: true\n').way.name).toBe('DIRECT')
  })

  it('takes what stands under dns: and nothing that does not', () => {
    const text = 'dns:\n  enable: false\n  listen: 0.0.0.0:53\n  nameserver: [192.0.2.1]\n'
    expect(read(text).dns).toEqual({ nameserver: ['192.0.2.1'] })
    expect(read(`ipv6: false\n${text}`).dns).toEqual({ nameserver: ['192.0.2.1'], ipv6: false })
  })

  it('says what becomes of pings, with the words of the example proxy', () => {
    expect(read('icmp: Fake\n').pings).toBe('fake')
    expect(read('dns: {}\n').pings).toBeUndefined()
    expect(() => read('ipv6: true\nicmp: maybe\n')).toThrow(/c\.yaml:2.*icmp/)
  })

  it('refuses rules that it would not follow, at their line, and proxies it cannot use', () => {
    const rules = `${office}rules:\n  - DOMAIN-SUFFIX,example.org,DIRECT\n  - MATCH,office\n`
    expect(() => read(rules)).toThrow(/c\.yaml:5.*only a MATCH rule is understood/)
    expect(() => read(`${office}rules:\n  - MATCH,other\n`)).toThrow(
      "c.yaml: 'other' has type ss; tun exec takes socks5 proxies and DIRECT",
    )
    expect(() => read(`${office}rules:\n  - MATCH,nobody\n`)).toThrow("there is no proxy 'nobody'")
    expect(() => read('proxies:\n  - { name: a, type: socks5, server: h, port: 1, tls: true }\n')).toThrow(/c\.yaml:2/)
    expect(readFile(rules, 'c.yaml', wayOf('direct')).way.name).toBe('DIRECT')
  })
})
