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
      expect(parseArgs(argv)).toEqual({ do: 'exec-help' })
    expect(exec('curl', '--help')).toMatchObject({ do: 'exec' })
    expect(parseArgs(['curl'])).toMatchObject({ message: expect.stringContaining("did you mean 'tun exec -- curl'?") })
  })
})
