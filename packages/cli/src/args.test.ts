import { describe, expect, it } from 'vitest'
import { parseArgs } from './args.js'

const exec = (...argv: string[]) => parseArgs(['exec', ...argv])

describe('the command line', () => {
  it('ends its options at the first word that is none, or at --, and leaves the rest to the command', () => {
    const wanted = { do: 'exec', arguments: { proxy: 'socks5://p:1', verbose: true, command: ['curl', '-v', '--proxy', 'x', '--'] } }
    expect(exec('--proxy', 'socks5://p:1', '-v', 'curl', '-v', '--proxy', 'x', '--')).toMatchObject(wanted)
    expect(exec('-v', '--proxy=socks5://p:1', '--', 'curl', '-v', '--proxy', 'x', '--')).toMatchObject(wanted)
    expect(exec('--', '--odd')).toMatchObject({ arguments: { command: ['--odd'] } })
    expect(exec('--', '--', 'x')).toMatchObject({ arguments: { command: ['--', 'x'] } })
  })

  it.each([
    [[], 'there is no command to run (tun exec --help shows how)'],
    [['--'], 'there is no command to run (tun exec --help shows how)'],
    [['--proxy'], /^Option '--proxy <value>' argument missing/],
    [['--proxy', '--', 'curl'], /^Option '--proxy' argument is ambiguous/],
    [['--proxy=', 'curl'], '--proxy needs a value (tun exec --help shows how)'],
    [['--prxy', 'x', 'curl'], /^Unknown option '--prxy'/],
  ])('exec %j is told what is wrong', (argv, message) => {
    const command = exec(...argv)
    expect(command.do).toBe('complain')
    if (typeof message === 'string') expect(command).toMatchObject({ message })
    else expect(command).toMatchObject({ message: expect.stringMatching(message) })
  })

  it('shows help where it is asked for, and the way to who forgot exec', () => {
    for (const argv of [[], ['-h'], ['--help'], ['help']]) expect(parseArgs(argv)).toEqual({ do: 'help' })
    for (const argv of [
      ['help', 'exec'],
      ['exec', '--help'],
      ['exec', '-h', 'curl'],
    ])
      expect(parseArgs(argv)).toEqual({ do: 'help', about: 'exec' })
    expect(exec('curl', '--help')).toMatchObject({ do: 'exec' })
    expect(parseArgs(['help', 'exce'])).toMatchObject({ do: 'complain', message: "there is no 'exce' (tun --help shows how)" })
    expect(parseArgs(['curl'])).toMatchObject({ message: expect.stringContaining("did you mean 'tun exec -- curl'?") })
  })

  it('of dump wants a command or a NIC, not both', () => {
    const dump = (...argv: string[]) => parseArgs(['dump', ...argv])
    expect(dump('-w', '-', '-c', '5', '-f', 'tcp port 80', 'curl', '-w', 'x')).toEqual({
      do: 'dump',
      arguments: { command: ['curl', '-w', 'x'], write: '-', print: false, count: 5, filter: 'tcp port 80' },
    })
    expect(dump('-i', 'tun0')).toEqual({ do: 'dump', arguments: { command: [], device: 'tun0', print: true } })
    expect(dump('-w', 'f', '--print', '-i', 'tun0')).toMatchObject({ arguments: { write: 'f', print: true } })
    for (const [argv, message] of [
      [[], 'nothing to look at'],
      [['-i', 'tun0', 'curl'], 'cannot be run in it'],
      [['-i', 'tun0', '--proxy', 'x'], 'are for a command'],
      [['-c', '0', 'curl'], '-c 0: not a number of packets'],
      [['-c', 'x', 'curl'], 'not a number of packets'],
      [['-c', '1e3', 'curl'], '-c 1e3: not a number of packets'],
      [['-w', '-', '--print', 'curl'], 'cannot share'],
    ] as const)
      expect(dump(...argv)).toMatchObject({ do: 'complain', message: expect.stringContaining(message) })
  })

  it('of doctor takes no more words', () => {
    expect(parseArgs(['doctor', '--json', '--config', 'f'])).toEqual({ do: 'doctor', arguments: { json: true, config: 'f' } })
    expect(parseArgs(['doctor', 'x'])).toMatchObject({ message: "unexpected argument 'x' (tun doctor --help shows how)" })
  })
})
