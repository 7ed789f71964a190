// Owns: packets on their way to a reader: chosen by the filter, counted, as lines and as pcapng, with the names that DNS gave them.

import { PacketFacts, type PacketFilter, PacketNames, PcapngWriter, printPacket } from '@tun/device'

export interface PacketLogOptions {
  /** As pcapng names it. */
  interfaceName: string
  application: string
  filter?: PacketFilter
  /** Ends after so many packets. */
  count?: number
  /** Where lines and blocks go; false: there is no room, and the packet is left out. */
  line?: (text: string) => boolean
  block?: (bytes: Uint8Array) => boolean
  /** Milliseconds since 1970. */
  now?: () => number
}

export class PacketLog {
  /** Packets that matched. */
  seen = 0
  /** … and were not written, because nobody read what came before. */
  leftOut = 0
  private readonly facts = new PacketFacts()
  private readonly names: PacketNames
  private readonly options: PacketLogOptions
  private readonly now: () => number
  private readonly pcapng: PcapngWriter | undefined
  private room = true

  constructor(options: PacketLogOptions) {
    this.options = options
    this.now = options.now ?? (() => performance.timeOrigin + performance.now())
    const { block } = options
    if (block !== undefined) {
      this.pcapng = new PcapngWriter(bytes => {
        this.room &&= block(bytes)
      }, options)
    }
    this.names = new PacketNames((address, name) => this.pcapng?.name(address, name))
  }

  get isFull(): boolean {
    return this.seen >= (this.options.count ?? Number.POSITIVE_INFINITY)
  }

  /** `bytes` are borrowed. `outgoing` undefined: not known. */
  packet(bytes: Uint8Array, outgoing?: boolean): void {
    const { filter, line } = this.options
    if (this.isFull || !this.facts.read(bytes)) return
    this.room = true
    // Names are learned from all packets: the answer to a query is not what most filters ask for.
    const dns = this.names.learn(this.facts)
    if (filter !== undefined && !filter(this.facts, this.names, dns)) return
    this.seen++
    const at = this.now()
    const comment =
      dns === undefined ? this.called() : `${dns.type}? ${dns.question}${[' →', ...dns.addresses].join(' ').replace(/ →$/, '')}`
    this.pcapng?.packet(bytes, at, { comment, outgoing })
    if (line !== undefined) {
      const direction = outgoing === undefined ? '' : outgoing ? 'Out ' : 'In  '
      this.room = line(`${timeOf(at)} ${direction}${printPacket(bytes)}${comment === undefined ? '' : `  # ${comment}`}\n`) && this.room
    }
    if (!this.room) this.leftOut++
  }

  /** The last block of a file. */
  end(missed = 0): void {
    this.pcapng?.statistics(this.now(), this.seen + missed, this.leftOut + missed)
  }

  private called(): string | undefined {
    const { facts, names } = this
    const found = [names.of(facts.sourceText), names.of(facts.destinationText)].filter(name => name !== undefined)
    return found.length === 0 ? undefined : found.join(', ')
  }
}

/** As tcpdump has it: local time, microseconds. */
function timeOf(at: number): string {
  const stamp = Math.round(at * 1000) // as pcapng has it
  const date = new Date(stamp / 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  const micros = String(stamp % 1e6).padStart(6, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${micros}`
}
