// Owns: what is said about a config: one line a finding, in the form compilers have, and the error that carries them all.

export interface Diagnostic {
  severity: 'error' | 'warning'
  /** The key: `tun.device-url`, `proxies[0].port`; '' for the file as a whole. */
  path: string
  /** From 1, of the value at fault (of the key, where the key is the fault); 0 if there was no text. */
  line: number
  /** From 1; 0 if there was no text. */
  column: number
  message: string
  /** What to do about it. */
  hint?: string
}

/** Has every error that was found. Its message is one line for each. */
export class ConfigError extends Error {
  readonly code = 'ERR_TUN_CONFIG'
  /** The errors, in the order of the file. */
  readonly diagnostics: Diagnostic[]
  /** What else was noticed: an unknown key is often the cause of an error. */
  readonly warnings: Diagnostic[]

  constructor(diagnostics: Diagnostic[], file?: string, warnings: Diagnostic[] = []) {
    super(diagnostics.map(diagnostic => formatDiagnostic(diagnostic, file)).join('\n'))
    this.name = 'ConfigError'
    this.diagnostics = diagnostics
    this.warnings = warnings
  }
}

/** `config.yaml:3:15: tun.device-url: …: hint`; a warning says so before its key. */
export function formatDiagnostic({ severity, path, line, column, message, hint }: Diagnostic, file?: string): string {
  const place = [file, ...(line > 0 ? [line, column] : [])].filter(part => part !== undefined && part !== '').join(':')
  return [place, severity === 'warning' ? 'warning' : '', path, message, hint].filter(part => part).join(': ')
}

export type Path = readonly (string | number)[]

export function formatPath(path: Path): string {
  return path.reduce<string>((text, key) => text + (typeof key === 'number' ? `[${key}]` : text === '' ? key : `.${key}`), '')
}

/** Anything that can say where a value or a key stands. */
export interface Places {
  value(path: Path): { line: number; column: number }
  key(path: Path): { line: number; column: number }
}

/** The places of a plain object: none. */
export const NOWHERE: Places = {
  value: () => ({ line: 0, column: 0 }),
  key: () => ({ line: 0, column: 0 }),
}

/** Collects findings on their way to the caller. */
export class Report {
  readonly errors: Diagnostic[] = []
  readonly warnings: Diagnostic[] = []

  constructor(readonly places: Places) {}

  error(path: Path, message: string, hint?: string): void {
    this.errors.push(finding('error', path, this.places.value(path), message, hint))
  }

  errorAtKey(path: Path, message: string, hint?: string): void {
    this.errors.push(finding('error', path, this.places.key(path), message, hint))
  }

  warning(path: Path, message: string, hint?: string): void {
    this.warnings.push(finding('warning', path, this.places.value(path), message, hint))
  }

  warningAtKey(path: Path, message: string, hint?: string): void {
    this.warnings.push(finding('warning', path, this.places.key(path), message, hint))
  }

  /** @throws ConfigError if there was an error; all of them, in the order of the file */
  settle(file?: string): void {
    const order = (a: Diagnostic, b: Diagnostic): number => a.line - b.line || a.column - b.column
    this.warnings.sort(order)
    if (this.errors.length > 0) throw new ConfigError(this.errors.sort(order), file, this.warnings)
  }
}

function finding(
  severity: Diagnostic['severity'],
  path: Path,
  { line, column }: { line: number; column: number },
  message: string,
  hint: string | undefined,
): Diagnostic {
  return { severity, path: formatPath(path), line, column, message, ...(hint === undefined ? {} : { hint }) }
}
