// Owns: what the benches print: markdown tables, and the line that says where and when the numbers were taken.

import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'

/** A markdown table; numbers are shown with three digits that count. */
export function table(/** @type {readonly string[]} */ head, /** @type {readonly (string | number)[][]} */ rows) {
  const line = (/** @type {readonly (string | number)[]} */ cells) => `| ${cells.map(show).join(' | ')} |`
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}

function show(/** @type {string | number} */ cell) {
  if (typeof cell === 'string') return cell
  if (cell >= 1000) return Math.round(cell).toLocaleString('en-US')
  return String(Number(cell.toPrecision(3)))
}

/** Machine, versions, commit and date. */
export function setting() {
  const [cpu] = cpus()
  return [
    `${cpus().length} × ${cpu?.model.trim() ?? 'unknown CPU'}`,
    `${process.platform} ${release()}`,
    `Node ${process.versions.node}`,
    `commit ${commit()}`,
    new Date().toISOString().slice(0, 10),
  ].join(', ')
}

function commit() {
  try {
    const options = /** @type {const} */ ({ cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const git = (/** @type {string[]} */ ...args) => execFileSync('git', args, options).trim()
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with changes')
  } catch {
    return 'unknown'
  }
}

export function median(/** @type {readonly number[]} */ values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}

/** CPU seconds of this process since its start, all threads, user and system: what /proc/self/stat counts, but not in ticks. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
