// Owns: a wire of a lab with a middlebox in it, which is started, spoken to, and waited for.

import { fileURLToPath } from 'node:url'

/**
 * @typedef {import('./faulty-wire.mjs').Faults} Faults
 * @typedef {import('./faulty-wire.mjs').Counters} Counters
 * @typedef {{ [Name in keyof Faults]?: number | string }} SomeFaults numbers, or as on the command line: '10m'
 * @typedef {SomeFaults & { ab?: SomeFaults, ba?: SomeFaults }} WireFaults both ways, and what differs in one
 */

const MIDDLEBOX = fileURLToPath(new URL('middlebox.mjs', import.meta.url))

/**
 * As Lab.wire(), but packets may be late or lost on it: an interface called `device` in each of the namespaces, a TUN without offload.
 * It ends with the lab.
 */
export async function slowWire(
  /** @type {import('./lab.mjs').Lab} */ lab,
  /** @type {import('./lab.mjs').Namespace} */ a,
  /** @type {string[]} */ addressesA,
  /** @type {import('./lab.mjs').Namespace} */ b,
  /** @type {string[]} */ addressesB,
  /** @type {WireFaults & { seed?: number, mtu?: number, device?: string }} */ { seed = 1, mtu = 1500, device = 'wire', ...faults } = {},
) {
  if (lab !== a.lab || lab !== b.lab) throw new Error('both namespaces must be of the lab')
  const argv = [MIDDLEBOX, '--a', `${device}@${a.name}`, '--b', `${device}@${b.name}`, '--seed', String(seed), '--mtu', String(mtu)]
  const program = a.start(process.execPath, argv)
  await program.waitFor(/^ready$/)
  for (const [namespace, addresses] of /** @type {const} */ ([
    [a, addressesA],
    [b, addressesB],
  ])) {
    for (const address of addresses) namespace.address(address, device)
  }
  const wire = new SlowWire(program)
  await wire.set(faults)
  return wire
}

export class SlowWire {
  constructor(/** @type {import('./lab.mjs').Program} */ program) {
    this.program = program
  }

  /** New faults from now on; what is not named stays. */
  async set(/** @type {WireFaults} */ faults) {
    await this.ask(JSON.stringify(faults), /^set$/)
  }

  /** What happened since the start, or since the last time with `reset`. @returns {Promise<{ ab: Counters, ba: Counters }>} */
  async counters({ reset = false } = {}) {
    return JSON.parse((await this.ask(`counters${reset ? ' reset' : ''}`, /^counters /)).slice('counters '.length))
  }

  async ask(/** @type {string} */ line, /** @type {RegExp} */ answer) {
    this.program.lines.length = 0
    this.program.child.stdin?.write(`${line}\n`)
    return await this.program.waitFor(answer)
  }
}
