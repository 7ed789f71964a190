import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

// One file with everything in it starts in half the time of the packages one by one. Native code stays where it is.
export default defineConfig({
  entry: { main: 'src/main.ts' },
  format: 'esm',
  target: 'node20',
  platform: 'node',
  sourcemap: true,
  clean: true,
  splitting: false,
  treeshake: true,
  noExternal: [/^(?!@tun\/native)/],
  external: ['@tun/native'],
  define: { VERSION: JSON.stringify(version) },
  // Some of what is bundled is CommonJS and asks for node's modules by `require`.
  banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
})
