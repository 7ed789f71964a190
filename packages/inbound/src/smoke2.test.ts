import { Session } from 'node:inspector/promises'
import { writeFileSync } from 'node:fs'
import { test } from 'vitest'
import { bytes, established, readAll, world } from './world.test-kit.js'

test('smoke', async () => {
  await using w = await world()
  const { app, socket } = await established(w)
  const data = bytes(100e6)
  const s = new Session(); s.connect(); await s.post('Profiler.enable'); await s.post('Profiler.start')
  const t = performance.now()
  app.end(data)
  await readAll(socket)
  console.log(performance.now() - t, w.kernel.stats, w.inbound.stats())
  const { profile } = await s.post('Profiler.stop')
  const self = new Map<string, number>()
  const dt = profile.timeDeltas!, ids = profile.samples!
  const names = new Map(profile.nodes.map(n => [n.id, n.callFrame.functionName + ' ' + n.callFrame.url.split('/').pop() + ':' + n.callFrame.lineNumber]))
  ids.forEach((id, i) => self.set(names.get(id)!, (self.get(names.get(id)!) ?? 0) + dt[i]))
  console.log([...self].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([k, v]) => k + ' ' + (v / 1000).toFixed(0)).join('\n'))
})
