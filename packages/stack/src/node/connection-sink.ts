// Owns: what a connection tells whoever takes it over from its Duplex: the relay (`TunSocket.detach`).

/** Who else may take over a connection's events from the Duplex: the relay. */
export interface ConnectionSink {
  connected(): void
  readable(): void
  writable(): void
  /** The peer's FIN was reached; unread data may still be queued. */
  ended(): void
  /** The connection is no more; `code` is '' or a POSIX code. */
  gone(code: string): void
}
