import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// What outlives a process (fake IPs) goes where nothing else of this machine is.
const env = { XDG_STATE_HOME: mkdtempSync(join(tmpdir(), 'tun-test-state-')) }

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// Unit tests read the sources; whatever starts a process of its own uses what `npm run build` made.
const alias = {
  '@tun/stack/testing': source('packages/stack/src/testing/index.ts'),
  '@tun/stack': source('packages/stack/src/index.ts'),
  '@tun/device': source('packages/device/src/index.ts'),
  '@tun/dns': source('packages/dns/src/index.ts'),
  '@tun/config': source('packages/config/src/index.ts'),
  '@tun/inbound': source('packages/inbound/src/index.ts'),
  'fast-check': source('test/setup/fast-check.ts'),
}

// All unit tests once more with other defaults: test/long/defaults.mjs.
const setupFiles = process.env.TUN_TEST_STACK || process.env.TUN_TEST_DEVICE ? [source('test/setup/stack-defaults.ts')] : []

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'unit',
          env,
          setupFiles,
          include: ['packages/*/src/**/*.test.ts', 'examples/*/src/**/*.test.ts', 'test/unit/**/*.test.ts'],
          // Against a test that hangs, on the slowest machine; none proves anything by it.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'system',
          env,
          include: ['native/test/**/*.test.ts', 'packages/cli/test/**/*.test.ts', 'test/system/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
