import type { Options } from 'tsup'

/** One shape for every package: ESM and CommonJS side by side, each with its own declarations. */
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
