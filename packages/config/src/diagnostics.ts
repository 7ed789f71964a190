// Owns: what is said about a config: a finding, its one-line form, and the error that carries them all.

import type { Excerpt } from './excerpt.js'
import type { DiagnosticId } from './ids.js'
import { formatPath, type Path } from './path.js'
import { formatReport } from './render.js'

export interface Diagnostic {
  /** Stable name of what is wrong: `tun/unknown-key`; docs/config.md lists them. */
  id: DiagnosticId
  /** `note`: taken as it was meant, and worth to know. */
  severity: 'error' | 'warning' | 'note'
  /** The key: `tun.device-url`, `proxies[0].port`; '' for the file as a whole. */
  path: string
  /** From 1, of the value at fault (of the key, where the key is the fault); 0 if there was no text. */
  line: number
  /** From 1; 0 if there was no text. */
  column: number
  message: string
  /** What to do about it. Lines behind the first are commands. */
  hint?: string
  /** The line of the text, without secrets; absent if there was no text. */
  excerpt?: Excerpt
}

/** Has every error that was found. Its message is one line for each. */
export class ConfigError extends Error {
  readonly code = 'ERR_TUN_CONFIG'
  /** The errors, in the order of the file. */
  readonly diagnostics: Diagnostic[]
  /** What else was noticed: an unknown key is often the cause of an error. */
  readonly warnings: Diagnostic[]
  private readonly file: string | undefined

  constructor(diagnostics: Diagnostic[], file?: string, warnings: Diagnostic[] = []) {
    super(diagnostics.map(diagnostic => formatDiagnostic(diagnostic, file)).join('\n'))
    this.name = 'ConfigError'
    this.diagnostics = diagnostics
    this.warnings = warnings
    Object.defineProperty(this, 'file', { value: file, enumerable: false })
  }

  /** Errors and warnings as compilers show them: place, id, the line with a mark, help. */
  get report(): string {
    return formatReport([...this.diagnostics, ...this.warnings], this.file)
  }
}

/** `config.yaml:3:15: tun.device-url: …: hint`; a warning or note says so before its key. */
export function formatDiagnostic({ severity, path, line, column, message, hint }: Diagnostic, file?: string): string {
  const place = [file, ...(line > 0 ? [line, column] : [])].filter(part => part !== undefined && part !== '').join(':')
  const fix = hint?.replace(/:?\n/, ': ').replaceAll('\n', '; ')
  return [place, severity === 'error' ? '' : severity, path, message, fix].filter(part => part).join(': ')
}

/** From 1, both; with the line as a message may show it. */
export interface Place {
  line: number
  column: number
  excerpt?: Excerpt
}

/** Anything that can say where a value or a key stands. */
export interface Places {
  value(path: Path): Place
  key(path: Path): Place
}

/** The places of a plain object: none. */
export const NOWHERE: Places = {
  value: () => ({ line: 0, column: 0 }),
  key: () => ({ line: 0, column: 0 }),
}

/** What is said about a place; the rest of a finding is where. */
export interface Saying {
  id: DiagnosticId
  message: string
  hint?: string
}

/** Collects findings on their way to the caller. */
export class Report {
  readonly errors: Diagnostic[] = []
  /** And notes. */
  readonly warnings: Diagnostic[] = []

  constructor(readonly places: Places) {}

  error(path: Path, saying: Saying): void {
    this.errors.push(finding('error', path, this.places.value(path), saying))
  }

  errorAtKey(path: Path, saying: Saying): void {
    this.errors.push(finding('error', path, this.places.key(path), saying))
  }

  warning(path: Path, saying: Saying): void {
    this.warnings.push(finding('warning', path, this.places.value(path), saying))
  }

  warningAtKey(path: Path, saying: Saying): void {
    this.warnings.push(finding('warning', path, this.places.key(path), saying))
  }

  noteAtKey(path: Path, saying: Saying): void {
    this.warnings.push(finding('note', path, this.places.key(path), saying))
  }

  /** @throws ConfigError if there was an error; all of them, in the order of the file */
  settle(file?: string): void {
    this.warnings.sort(inOrder)
    if (this.errors.length > 0) throw new ConfigError(this.errors.sort(inOrder), file, this.warnings)
  }
}

export function inOrder(a: Diagnostic, b: Diagnostic): number {
  return a.line - b.line || a.column - b.column
}

export function finding(severity: Diagnostic['severity'], path: Path, place: Place, { id, message, hint }: Saying): Diagnostic {
  const { line, column, excerpt } = place
  const more = { ...(hint === undefined ? {} : { hint }), ...(excerpt === undefined ? {} : { excerpt }) }
  return { id, severity, path: formatPath(path), line, column, message, ...more }
}
