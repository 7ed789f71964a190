import { readFileSync } from 'node:fs'
import type { Options } from 'tsup'

/** One shape for every library: ESM and CommonJS side by side, each with its own declarations. */
export function library(entry: Record<string, string> = { index: 'src/index.ts' }): Options {
  return {
    entry,
    format: ['esm', 'cjs'],
    target: 'node20',
    platform: 'node',
    sourcemap: true,
    clean: true,
    splitting: true,
    treeshake: true,
    // TypeScript 6 calls the `baseUrl` that tsup sets deprecated (TS5101).
    dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  }
}

/**
 * A command: one file with everything in it starts in half the time of the packages one by one; what is imported where it is needed
 * (undici, ioredis) is a file of its own. Native code stays where it is. Run in the package's directory; its version is what VERSION stands
 * for.
 */
export function program(): Options {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  return {
    entry: { main: 'src/main.ts' },
    format: 'esm',
    target: 'node20',
    platform: 'node',
    sourcemap: true,
    clean: true,
    splitting: true,
    treeshake: true,
    noExternal: [/^(?!@tun\/native)/],
    external: ['@tun/native'],
    // Names stay: a stack trace is read by people. What goes is what V8 would scan at each start for nothing.
    esbuildOptions: options => {
      options.minifyWhitespace = true
      options.minifySyntax = true
    },
    define: { VERSION: JSON.stringify(version) },
    // Some of what is bundled is CommonJS and asks for node's modules by `require`.
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  }
}
