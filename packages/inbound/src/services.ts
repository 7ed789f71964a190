// Owns: what listens where: listen() and listenDatagrams() of an inbound. For each destination the most specific service is found.

import type { Matcher } from './address-match.js'

/** What ends a listening. */
export interface Listener {
  /** Idempotent. */
  close(): void
}

interface Service<Handler> {
  readonly matcher: Matcher
  readonly handle: Handler
}

export class Services<Handler> {
  private readonly all: Service<Handler>[] = []

  add(matcher: Matcher, handle: Handler): Listener {
    const service = { matcher, handle }
    this.all.push(service)
    return {
      close: () => {
        const i = this.all.indexOf(service)
        if (i >= 0) this.all.splice(i, 1)
      },
    }
  }

  /** Is anything served at this very address, or at a prefix with it? What is served at all addresses does not count. */
  coversAddress(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.all.some(({ matcher }) => matcher.bits >= 0 && matcher.matches(w0, w1, w2, w3))
  }

  /** Longest prefix first, a port before all ports; of equals the first. */
  find(port: number, w0: number, w1: number, w2: number, w3: number): Handler | undefined {
    let found: Service<Handler> | undefined
    for (const service of this.all) {
      const m = service.matcher
      if ((m.port !== 0 && m.port !== port) || !m.matches(w0, w1, w2, w3)) continue
      const best = found?.matcher
      if (best === undefined || m.bits > best.bits || (m.bits === best.bits && m.port > best.port)) found = service
    }
    return found?.handle
  }
}
