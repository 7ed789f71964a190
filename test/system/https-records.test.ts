// HTTPS records at a browser's and at curl's: Chromium asks for them, gets alpn and ech without address hints, and arrives by name.
// RFC 9460 §9.5: a page asked for by http is fetched by https because there is such a record.

import { execFileSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { NOBODY } from '../../scripts/lab/lab.mjs'
import { findBinary } from '../../scripts/peers.mjs'
import { DNS4, Scene, SERVER4 } from './namespace.js'
import { describeSystem, itWith, PROXY } from './requirements.js'

const HINT = '192.0.2.66' // nobody is there
/** A list with one configuration, of a version that nobody has (RFC 9849 §4): it has to be well-formed, or Chromium loads nothing. */
const ECH = Buffer.from('0008ba1a000401020304', 'hex')

describeSystem('HTTPS records', { lab: true, built: [PROXY], peers: ['unbound', 'nginx', 'openssl', 'kdig', 'curl'] }, () => {
  let scene: Scene

  beforeAll(async () => {
    const config = `log-level: info
dns: { enable: true, nameserver: ['${DNS4}'] }
rules:
  - DOMAIN,web.test,DIRECT
  - MATCH,REJECT
`
    scene = await Scene.open({ config })
    scene.servers.address(`${DNS4}/32`, 'lo')
    writeFileSync(
      scene.file('unbound.conf'),
      `server:\n  chroot: ""\n  username: ""\n  directory: "${scene.file('')}"\n  pidfile: ""\n  use-syslog: no\n  do-daemonize: no
  interface: ${DNS4}\n  access-control: 0.0.0.0/0 allow\n  module-config: "iterator"\n  local-zone: "test." static
  local-data: 'web.test. 60 IN A ${SERVER4}'
  local-data: 'web.test. 60 IN HTTPS 1 . alpn="h2" ipv4hint=${HINT} ech="${ECH.toString('base64')}"'
remote-control:\n  control-enable: no\n`,
    )
    scene.servers.start(findBinary('unbound') as string, ['-d', '-c', scene.file('unbound.conf')])
    await scene.servers.listening(53)
    const key = ['-keyout', scene.file('key.pem'), '-out', scene.file('cert.pem')]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=web.test', ...key], {
      stdio: 'pipe',
    })
    writeFileSync(
      scene.file('nginx.conf'),
      `daemon off; pid ${scene.file('nginx.pid')}; error_log stderr; worker_processes 1; events { worker_connections 64; }
http { access_log off; default_type text/html; server { listen ${SERVER4}:443 ssl http2; listen ${SERVER4}:80;
  ssl_certificate ${scene.file('cert.pem')}; ssl_certificate_key ${scene.file('key.pem')};
  location / { return 200 "<p>$scheme $server_protocol $host</p>"; } } }\n`,
    )
    scene.servers.start(findBinary('nginx') as string, ['-p', scene.file(''), '-c', scene.file('nginx.conf')])
    await scene.servers.listening(443)
  })
  afterAll(() => scene?.close())

  it('alpn and ech are kept, the hint is gone', async () => {
    scene.watch()
    const text = await scene.app('kdig', ['web.test', 'TYPE65', '+short'])
    expect(text).toMatch(/^1 \. alpn=h2 ech=/)
    expect([text.includes(ECH.toString('base64')), text.includes('hint')]).toEqual([true, false])
  })

  it('curl arrives by name', async () => {
    scene.watch()
    expect(await scene.app('curl', ['-sSk', '--max-time', '20', 'https://web.test/'])).toBe('<p>https HTTP/2.0 web.test</p>')
  })

  itWith('chromium', 'Chromium arrives by name, and takes https and h2 because of the record', async () => {
    scene.watch()
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--ignore-certificate-errors', '--dump-dom', '--virtual-time-budget=5000']
    const home = mkdtempSync(join(tmpdir(), 'chromium-')) // the scene's own directory is root's
    onTestFinished(() => rmSync(home, { recursive: true, force: true }))
    chownSync(home, NOBODY, NOBODY)
    const profile = [`--user-data-dir=${home}`, '--no-first-run', '--disable-background-networking', '--disable-component-update']
    const features = ['--enable-features=AsyncDns,UseDnsHttpsSvcb:UseDnsHttpsSvcbEnableInsecure/true']
    const done = await scene.apps.run('env', [`HOME=${home}`, 'chromium', ...args, ...profile, ...features, 'http://web.test/'], {
      nobody: true,
      timeout: 90_000,
    })
    expect(done.stdout.toString(), done.stderr).toContain('https HTTP/2.0 web.test')
    expect(scene.proxy.lines.filter(line => /--> web\.test:443/.test(line)).length).toBeGreaterThan(1)
  })
})
