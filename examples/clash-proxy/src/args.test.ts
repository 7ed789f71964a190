import { expect, test } from 'vitest'
import { parseArgs } from './args.js'

test.each([
  [[], { do: 'run', file: '/here/config.yaml' }],
  [['-f', 'a.yaml'], { do: 'run', file: '/here/a.yaml' }],
  [['-f', '/abs/a.yaml', '-t'], { do: 'check', file: '/abs/a.yaml' }],
  [['-f', 'a.yaml', '-d', 'sub'], { do: 'run', file: '/here/sub/a.yaml' }],
  [['-d', '/home/clash'], { do: 'run', file: '/home/clash/config.yaml' }],
  [['-x', '-h'], { do: 'complain', message: 'unknown option -x (-h shows the options)' }],
  [['-h'], { do: 'help' }],
  [['-v'], { do: 'version' }],
  [['--user', 'nobody:nogroup', '-t'], { do: 'check', file: '/here/config.yaml', user: 'nobody:nogroup' }],
  [['--user'], { do: 'complain', message: '--user needs a name (-h shows the options)' }],
  [['-f'], { do: 'complain', message: '-f needs a file (-h shows the options)' }],
  [['a.yaml'], { do: 'complain', message: 'unexpected argument "a.yaml" (-h shows the options)' }],
])('%j', (argv, expected) => {
  expect(parseArgs(argv, '/here')).toEqual(expected)
})
