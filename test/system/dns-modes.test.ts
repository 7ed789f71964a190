// The built example proxy with real addresses (redir-host) and with DNS on a socket of the host, unbound as its nameserver.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { DNS4, Scene, SERVER4 } from './namespace.js'
import { describeSystem, PROXY } from './requirements.js'
import { startNginx, startUnbound } from './servers.js'

const needs = { lab: true, built: [PROXY], peers: ['nginx', 'unbound', 'dig', 'curl'] }

describeSystem('real addresses (redir-host)', needs, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `log-level: info
dns: { enable: true, enhanced-mode: redir-host, nameserver: ['tcp://${DNS4}'], listen: '127.0.0.1:1053' }
hosts: { own.test: ${SERVER4} }
rules:
  - DOMAIN,web.test,DIRECT
  - DOMAIN,own.test,DIRECT
  - MATCH,REJECT
`
    scene = await Scene.open({ config })
    await startUnbound(scene)
    await startNginx(scene)
  })
  afterAll(() => scene?.close())

  it('an address that nobody was told is no name: the rule by name does not match', async () => {
    scene.watch()
    await expect(scene.app('curl', ['-sS', '--max-time', '10', `http://${SERVER4}/`])).rejects.toThrow(/refused|Could.?n.t connect/i)
  })

  it('the answer has the real address, and a connection to it matches the rule by name', async () => {
    scene.watch()
    expect(await scene.app('dig', ['+short', 'web.test', 'A'])).toBe(`${SERVER4}\n`)
    expect(await scene.app('curl', ['-sS', '-4', '--max-time', '10', 'http://web.test/'])).toContain('you asked for web.test')
    expect(scene.proxy.lines.join('\n')).toMatch(/--> web\.test:80 match Domain\(web\.test\)|--> web\.test:80 match DOMAIN.*web\.test/i)
  })

  it('hosts and the host’s own socket: the same answers, over UDP and TCP', async () => {
    scene.watch()
    for (const extra of ['+notcp', '+tcp']) {
      const done = await scene.apps.run('dig', ['+short', extra, '-p', '1053', '@127.0.0.1', 'own.test', 'A'], {})
      expect(done.stdout.toString()).toBe(`${SERVER4}\n`)
      const text = await scene.apps.run('dig', ['+short', extra, '-p', '1053', '@127.0.0.1', 'text.test', 'TXT'], {})
      expect(text.stdout.toString()).toBe('"from unbound"\n')
    }
  })
})
