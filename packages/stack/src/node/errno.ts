// Owns: POSIX errors as Node makes them: code, errno, syscall; and what an error means for a connection, pending or not.

import { constants } from 'node:os'
import type { RejectReason } from '../tcp/connection.js'

/** An error as net.Socket would have it: `read ECONNRESET` with code, errno (negative, as libuv's) and syscall. */
export function errnoError(code: string, syscall: string): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`${syscall} ${code}`)
  error.code = code
  error.syscall = syscall
  const errno = (constants.errno as Record<string, number>)[code]
  if (errno !== undefined) error.errno = -errno
  return error
}

/** What an application should see when whoever serves it failed with this error. Everything else is a refusal. */
export function rejectReason(error: (Error & { code?: unknown }) | null | undefined): RejectReason {
  switch (error?.code) {
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
    case 'ENOTFOUND':
      return 'host-unreachable'
    case 'ENETUNREACH':
    case 'ENETDOWN':
      return 'net-unreachable'
    case 'EACCES':
    case 'EPERM':
      return 'prohibited'
    case 'ETIMEDOUT':
      return 'drop'
    default:
      return 'refused'
  }
}

/** An errno, libuv's or the resolver's (ENOTFOUND, EAI_AGAIN): something a network does, not a mistake in the program. */
export function isNetworkError(error: Error & { code?: unknown }): boolean {
  return typeof error.code === 'string' && /^E(?!RR_)[A-Z0-9_]+$/.test(error.code)
}

/**
 * Node destroys with an error, counting on net.Socket's FIN: at the end of a `for await` loop, in which answers were written; and in an
 * http.Server behind its answer to a request that is late or makes no sense.
 */
export function isPolite(error: Error & { code?: unknown }): boolean {
  return (error.name === 'AbortError' && error.cause === undefined) || /^(HPE_|ERR_HTTP_)/.test(String(error.code))
}

/** A listener's mistake is the process's business ('uncaughtException'), but not that of the other connections in the same turn. */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
