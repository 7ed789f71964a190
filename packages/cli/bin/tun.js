#!/usr/bin/env node
// The command. What it does is in src/main.ts.
import { existsSync, writeSync } from 'node:fs'

const main = new URL('../dist/main.js', import.meta.url)
if (existsSync(main)) {
  const { run } = await import(main.href)
  process.exit(await run(process.argv.slice(2)))
} else {
  writeSync(2, 'tun: not built; run `npm ci && npm run build` first\n')
  process.exitCode = 125
}
