import type { Destination } from '@tun/inbound'
import { describe, expect, test } from 'vitest'
import { Problems } from './problems.js'
import type { Target } from './proxies.js'
import { type Network, readRules, type Traffic } from './rules.js'

const target = (name: string): Target => ({ name, outbound: undefined, reject: 'refused' })
const targets = new Map(['A', 'B', 'C', 'DIRECT', 'REJECT'].map(name => [name, target(name)]))

function read(...texts: unknown[]) {
  const problems = new Problems()
  const rules = readRules(texts, targets, problems)
  return {
    rules,
    problems,
    errors: problems.errors.map(e => [e.message, ...(e.hint ? [e.hint] : [])].join(': ')),
    warnings: problems.warnings.map(w => w.message),
  }
}

const APP = { address: '10.9.9.9', port: 40_000, family: 4 } as const
const traffic = (destination: Destination, network: Network = 'tcp', source: string = APP.address): Traffic => ({
  network,
  source: { ...APP, address: source },
  destination,
})
const to = (address: string, port = 443): Destination => ({ address, port, family: address.includes(':') ? 6 : 4 })
const named = (host: string, port = 443): Destination => ({ address: '198.18.0.5', port, family: 4, host })

describe('matching', () => {
  const which = (rules: string[], destination: Destination, resolved?: string) =>
    read(...rules).rules.find(traffic(destination), resolved)?.target.name

  test('the first rule in the file wins, whatever kinds compete', () => {
    const rules = [
      'DST-PORT,25,A',
      'DOMAIN-SUFFIX,example.org,B',
      'DOMAIN,mail.example.org,C',
      'IP-CIDR,10.0.0.0/8,C',
      'MATCH,DIRECT',
      'DOMAIN,late.net,A',
    ]
    expect(which(rules, named('mail.example.org', 25))).toBe('A')
    expect(which(rules, named('mail.example.org'))).toBe('B')
    expect(which(rules, to('10.1.2.3', 25))).toBe('A')
    expect(which(rules, to('10.1.2.3'))).toBe('C')
    expect(which(rules, named('late.net'))).toBe('DIRECT')
  })

  test.each([
    ['DOMAIN,example.org,A', 'example.org', 'A'],
    ['DOMAIN,example.org,A', 'EXAMPLE.org.', 'A'],
    ['DOMAIN,Example.ORG,A', 'example.org', 'A'],
    ['DOMAIN,example.org,A', 'www.example.org', undefined],
    ['DOMAIN-SUFFIX,example.org,A', 'example.org', 'A'],
    ['DOMAIN-SUFFIX,example.org,A', 'a.b.example.org', 'A'],
    ['DOMAIN-SUFFIX,example.org,A', 'badexample.org', undefined],
    ['DOMAIN-SUFFIX,.example.org,A', 'www.example.org', 'A'],
    ['DOMAIN-SUFFIX,org,A', 'example.org', 'A'],
  ])('%s and the name %s: %s', (rule, host, expected) => {
    expect(which([rule], named(host))).toBe(expected)
  })

  test.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3/8', '10.9.9.9', true], // host bits are masked
    ['192.168.1.128/25', '192.168.1.127', false],
    ['192.168.1.128/25', '192.168.1.128', true],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['1.2.3.4', '1.2.3.4', true],
    ['1.2.3.4/32', '1.2.3.5', false],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['2001:db8::/33', '3001:db8::1', false],
    ['2001:db8::/96', '2001:db8:0:0:1::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '10.1.2.3', false], // IPv6 only, as `ip -6` and mihomo mean it
    ['::/64', '10.1.2.3', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['fe80::1/128', 'fe80::1', true],
    ['128.0.0.0/1', '200.0.0.1', true],
  ])('IP-CIDR,%s and %s: %s', (prefix, address, expected) => {
    expect(which([`${prefix.includes(':') ? 'IP-CIDR6' : 'IP-CIDR'},${prefix},A`], to(address))).toBe(expected ? 'A' : undefined)
  })

  test.each([
    ['443', 443, true],
    ['443', 444, false],
    ['8000-8999', 8999, true],
    ['8000-8999', 9000, false],
    ['80/443/8000-8010', 8005, true],
    ['80/443', 81, false],
  ])('DST-PORT,%s and port %i: %s', (ports, port, expected) => {
    expect(which([`DST-PORT,${ports},A`], to('1.1.1.1', port))).toBe(expected ? 'A' : undefined)
  })

  test.each([
    ['DOMAIN-KEYWORD,google,A', 'www.google.com', 'A'],
    ['DOMAIN-KEYWORD,GOOGLE,A', 'mygoogle.net', 'A'],
    ['DOMAIN-KEYWORD,le.c,A', 'google.com', 'A'],
    ['DOMAIN-KEYWORD,google,A', 'example.org', undefined],
  ])('%s and the name %s: %s', (rule, host, expected) => {
    expect(which([rule], named(host))).toBe(expected)
    expect(which([rule], to('1.1.1.1'))).toBeUndefined()
  })

  test('NETWORK tells TCP from UDP', () => {
    const { rules } = read('NETWORK,UDP,A', 'NETWORK,tcp,B')
    const names = (['tcp', 'udp'] as const).map(network => rules.find(traffic(to('1.1.1.1'), network))?.target.name)
    expect(names).toEqual(['B', 'A'])
  })

  test.each([
    ['SRC-IP-CIDR,10.9.0.0/16,A', '10.9.1.1', 'A'],
    ['SRC-IP-CIDR,10.9.0.0/16,A', '10.8.1.1', undefined],
    ['SRC-IP-CIDR,fd00::/8,A', 'fd00::1', 'A'],
    ['IP-CIDR,10.9.0.0/16,A,src', '10.9.1.1', 'A'],
    ['IP-CIDR,10.9.0.0/16,A,no-resolve,src', '10.8.1.1', undefined],
  ])('%s and the source %s: %s', (rule, source, expected) => {
    const { rules } = read(rule)
    expect(rules.find(traffic(named('example.org'), 'tcp', source))?.target.name).toBe(expected)
    expect(rules.wantsAddress(traffic(named('example.org'), 'tcp', source))).toBe(false)
  })

  test('a fake IP is never what an IP rule sees', () => {
    const rules = ['IP-CIDR,198.18.0.0/15,A', 'MATCH,B']
    expect(which(rules, named('example.org'))).toBe('B')
    expect(which(rules, to('198.18.0.5'))).toBe('A')
    expect(which(['IP-CIDR,93.184.0.0/16,A', 'MATCH,B'], named('example.org'), '93.184.216.34')).toBe('A')
  })

  test('the real address is wanted only if an IP rule that resolves stands before the match by name', () => {
    const wants = (...rules: string[]) => read(...rules).rules.wantsAddress(traffic(named('example.org')))
    expect(wants('IP-CIDR,10.0.0.0/8,A', 'MATCH,B')).toBe(true)
    expect(wants('IP-CIDR,10.0.0.0/8,A,no-resolve', 'MATCH,B')).toBe(false)
    expect(wants('DOMAIN,example.org,A', 'IP-CIDR,10.0.0.0/8,A')).toBe(false)
    expect(wants('MATCH,B', 'IP-CIDR,10.0.0.0/8,A')).toBe(false)
    expect(read('IP-CIDR,10.0.0.0/8,A').rules.wantsAddress(traffic(to('10.0.0.1')))).toBe(false)
  })

  test('agrees with a list walked from the top, on any rules and destinations', () => {
    let seed = 7
    const random = (n: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0
      return (seed >>> 8) % n
    }
    const names = ['a.org', 'b.a.org', 'c.b.a.org', 'a.net', 'org']
    for (let round = 0; round < 300; round++) {
      const list = Array.from({ length: 1 + random(12) }, () => {
        const target = 'ABC'[random(3)]
        const name = names[random(5)]
        const octet = random(4)
        const kinds: [string, (d: Destination) => boolean][] = [
          [`DOMAIN,${name},${target}`, d => d.host === name],
          [`DOMAIN-SUFFIX,${name},${target}`, d => d.host === name || !!d.host?.endsWith(`.${name}`)],
          [`DST-PORT,${octet},${target}`, d => d.port === octet],
          [`DOMAIN-KEYWORD,${name.slice(0, 3)},${target}`, d => !!d.host?.includes(name.slice(0, 3))],
          [`NETWORK,udp,${target}`, () => false],
          [`SRC-IP-CIDR,10.${6 + octet}.0.0/16,${target}`, () => octet === 3],
          [`IP-CIDR,10.${octet}.0.0/16,${target}`, d => d.host === undefined && d.address.startsWith(`10.${octet}.`)],
          [`MATCH,${target}`, () => true],
        ]
        return [...kinds[random(24) === 0 ? 7 : random(7)], target] as const
      })
      const { rules } = read(...list.map(([text]) => text))
      for (let i = 0; i < 8; i++) {
        const destination = random(2) ? named(names[random(5)], random(5)) : to(`10.${random(5)}.1.1`, random(5))
        expect(rules.find(traffic(destination))?.target.name).toBe(list.find(([, matches]) => matches(destination))?.[2])
      }
    }
  })

  test('the label is the one of mihomo’s log', () => {
    const { rules } = read('DOMAIN-SUFFIX,example.org,A', 'NETWORK,UDP,A', 'MATCH,B')
    expect(rules.find(traffic(to('1.1.1.1'), 'udp'))?.label).toBe('Network(udp)')
    expect([rules.find(traffic(named('example.org')))?.label, rules.find(traffic(to('1.1.1.1')))?.label]).toEqual([
      'DomainSuffix(example.org)',
      'Match',
    ])
  })
})

describe('reading', () => {
  test.each([
    ['DOMAN,example.org,A', "unknown rule type 'DOMAN': did you mean 'DOMAIN'?"],
    ['DOMAIN,example.org,DIRCET', "there is no proxy 'DIRCET': did you mean 'DIRECT'?"],
    ['DOMAIN,example.org', "'DOMAIN,example.org' is no rule: write DOMAIN,VALUE,TARGET"],
    ['DOMAIN,,A', "'DOMAIN,,A' is no rule: write DOMAIN,VALUE,TARGET"],
    ['MATCH', "'MATCH' is no rule: write MATCH,TARGET"],
    ['', "unknown rule type ''"],
    ['constructor,x,A', "unknown rule type 'constructor'"],
    ['DOMAIN,http://x/,A', "'http://x/' is no domain name: write e.g. example.org"],
    ['IP-CIDR,10.0.0.0/33,A', "'10.0.0.0/33' is no range of addresses: write e.g. 10.0.0.0/8 or fd00::/8"],
    ['IP-CIDR6,2001:db8/32,A', "'2001:db8/32' is no range of addresses: write e.g. 10.0.0.0/8 or fd00::/8"],
    ['IP-CIDR,10.0.0.0/,A', "'10.0.0.0/' is no range of addresses: write e.g. 10.0.0.0/8 or fd00::/8"],
    ['DST-PORT,70000,A', "'70000' is no port: write e.g. 443, 8000-8999 or 80/443"],
    ['NETWORK,igmp,A', "'igmp' is no network: write tcp, udp or icmp"],
    ['SRC-IP-CIDR,10.0.0.0/33,A', "'10.0.0.0/33' is no range of addresses: write e.g. 10.0.0.0/8 or fd00::/8"],
    ['DST-PORT,90-80,A', "'90-80' is no port: write e.g. 443, 8000-8999 or 80/443"],
  ])('%j is an error: %s', (rule, message) => {
    const { errors, rules } = read('MATCH,A', rule)
    expect(errors).toEqual([message])
    expect(rules.size).toBe(1)
  })

  test('errors carry the place of their rule', () => {
    expect(read('MATCH,A', 'MATCH,NOBODY').problems.errors[0].path).toEqual([1])
    expect(read(17).errors).toEqual(['a rule is a text: e.g. DOMAIN-SUFFIX,example.org,DIRECT'])
  })

  test('what mihomo knows and we do not is a warning, and the rule is skipped', () => {
    const { rules, errors, warnings } = read('GEOIP,CN,DIRECT', 'AND,((DOMAIN,a.org),(NETWORK,UDP)),NOBODY', 'MATCH,A')
    expect(errors).toEqual([])
    expect(warnings).toHaveLength(2)
    expect(warnings[0]).toBe('rule type GEOIP is not acted on yet: this rule is skipped')
    expect(rules.size).toBe(1)
  })

  test('spaces around commas, and lower case types, are taken', () => {
    const { rules, errors } = read(' domain-suffix , example.org , A ')
    expect(errors).toEqual([])
    expect(rules.find(traffic(named('www.example.org')))?.target.name).toBe('A')
  })
})
