// Owns: how the scripts talk: one line a step, ✓ ✗ –, colour only where a person looks.

const colour = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (/** @type {number} */ code) => (/** @type {string} */ text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text)

export const green = paint(32)
export const red = paint(31)
export const yellow = paint(33)
export const dim = paint(2)
export const bold = paint(1)

/** 0.4 ms, 12 ms, 3.4 s. */
export function duration(/** @type {number} */ ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`
}

/** `details` go below the line, dimmed. */
export function line(
  /** @type {string} */ mark,
  /** @type {string} */ name,
  /** @type {string} */ text,
  /** @type {string[]} */ details = [],
) {
  console.log(` ${mark} ${bold(name.padEnd(12))} ${text}`)
  for (const detail of details) console.log(dim(`   ${' '.repeat(12)} ${detail}`))
}
