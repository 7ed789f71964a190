import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeSystem, PROXY, ROOT } from './requirements.js'

describeSystem('npm run try', { lab: true, peers: ['curl', 'setpriv'], built: [PROXY] }, () => {
  it('fetches by address over IPv4 and IPv6 and by name, ends with 0 and leaves nothing behind', { timeout: 180_000 }, async () => {
    const child = spawn(process.execPath, ['scripts/try.mjs'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (output += data))
    const code = await new Promise(resolve => child.on('close', resolve))
    expect(code, output).toBe(0)
    for (const step of ['IPv4', 'IPv6', 'name', '10 MB', 'closed port']) expect(output).toMatch(new RegExp(`✓ ${step} `))
    for (const directory of ['/run/netns', '/etc/netns', '/tmp']) {
      const left = existsSync(directory) ? readdirSync(directory).filter(name => name.startsWith(`tunlab-${child.pid}`)) : []
      expect(left).toEqual([])
    }
  })
})
