#!/usr/bin/env node
// The command. What it does is in src/main.ts.
import { existsSync } from 'node:fs'

const main = new URL('../dist/main.js', import.meta.url)
if (existsSync(main)) {
  const { run } = await import(main.href)
  await run(process.argv.slice(2))
} else {
  process.stderr.write('clash-proxy: not built; run `npm ci && npm run build` first\n')
  process.exitCode = 1
}
