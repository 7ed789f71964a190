// Owns: running a scenario of scenarios.mjs in a network (and mount) namespace that is gone with the process.

import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const scenarios = fileURLToPath(new URL('./scenarios.mjs', import.meta.url))

/** Why the kernel tests cannot run here, or ''. */
export function missing(): string {
  if (process.platform !== 'linux') return 'TUN tests need Linux'
  if (process.getuid?.() !== 0) return 'TUN tests need root (sudo npm test)'
  if (!existsSync('/dev/net/tun')) return 'TUN tests need /dev/net/tun (modprobe tun)'
  for (const [tool, pkg] of [
    ['unshare', 'util-linux'],
    ['ip', 'iproute2'],
    ['python3', 'python3'],
  ]) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error && spawnSync(tool, ['-V'], { stdio: 'ignore' }).error) {
      return `TUN tests need ${tool}: apt-get install ${pkg}`
    }
  }
  return ''
}

// biome-ignore lint/suspicious/noExplicitAny: facts of a scenario, judged by matchers
export type Facts = any

/** `env`: of the scenario alone, besides this process's. */
export async function inNamespace(scenario: string, env: Record<string, string> = {}): Promise<Facts> {
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const command = `ip link set lo up; exec env "$@" "${process.execPath}" "${scenarios}" ${scenario}`
  const { stdout } = await promisify(execFile)('unshare', ['-nm', 'sh', '-c', command, 'sh', ...set], { timeout: 40_000 })
  return JSON.parse(stdout)
}
