// Owns: log lines on stderr, in mihomo's form. A level that is off has no method, so `log.info?.(…)` does not even build its text.

export const LEVELS = ['silent', 'error', 'warning', 'info', 'debug'] as const
export type Level = (typeof LEVELS)[number]

type Write = (message: string) => void

export interface Log {
  readonly level: Level
  readonly error: Write | undefined
  readonly warning: Write | undefined
  readonly info: Write | undefined
  readonly debug: Write | undefined
}

export function createLog(level: Level, sink: (line: string) => void, now: () => Date = () => new Date()): Log {
  const limit = LEVELS.indexOf(level)
  const at = (name: Level): Write | undefined =>
    LEVELS.indexOf(name) > limit
      ? undefined
      : message => sink(`time="${now().toISOString()}" level=${name} msg=${JSON.stringify(message)}\n`)
  return { level, error: at('error'), warning: at('warning'), info: at('info'), debug: at('debug') }
}
