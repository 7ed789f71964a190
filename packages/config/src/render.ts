// Owns: findings → the report that a person reads, in the form that compilers have and editors follow:
//   config.yaml:3:8: error[tun/range]: tun.mtu: must be at most 65535, got 99999
//     3 |   mtu: 99999
//       |        ^^^^^
//   help: …

import type { Diagnostic } from './diagnostics.js'

const INDENT = '      ' // of commands, below the words of "help: "

/** All findings in the order of the file, and how many there are. '' if there are none. Ends with a newline otherwise. */
export function formatReport(diagnostics: readonly Diagnostic[], file?: string): string {
  if (diagnostics.length === 0) return ''
  const sorted = [...diagnostics].sort((a, b) => a.line - b.line || a.column - b.column)
  const blocks = sorted.map(diagnostic => `${blockOf(diagnostic, file)}\n`)
  return `${blocks.join('\n')}\n${file === undefined ? '' : `${file}: `}${countsOf(sorted)}\n`
}

function blockOf({ id, severity, path, line, column, message, hint, excerpt }: Diagnostic, file: string | undefined): string {
  const place = [file, ...(line > 0 ? [line, column] : [])].filter(part => part !== undefined && part !== '').join(':')
  const lines = [`${place === '' ? '' : `${place}: `}${severity}[${id}]: ${path === '' ? '' : `${path}: `}${message}`]
  if (excerpt !== undefined && excerpt.text !== '') {
    const number = String(line).padStart(3)
    lines.push(`${number} | ${excerpt.text}`)
    lines.push(`${' '.repeat(number.length)} | ${' '.repeat(excerpt.at)}${'^'.repeat(excerpt.width)}`)
  }
  if (hint !== undefined) lines.push(`help: ${hint.replaceAll('\n', `\n${INDENT}`)}`)
  return lines.join('\n')
}

/** `2 errors, 1 warning`. */
function countsOf(diagnostics: readonly Diagnostic[]): string {
  const count = (severity: Diagnostic['severity']): string[] => {
    const n = diagnostics.filter(diagnostic => diagnostic.severity === severity).length
    return n === 0 ? [] : [`${n} ${severity}${n === 1 ? '' : 's'}`]
  }
  return [...count('error'), ...count('warning'), ...count('note')].join(', ')
}
