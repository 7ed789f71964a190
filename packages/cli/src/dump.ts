// Owns: `tun dump`: whose packets, and where they go. A command's are seen on the TUN that exec.ts gives it; those of a NIC that is
// served by somebody else are copies, by a packet socket.

import { openSync } from 'node:fs'
import { type PacketFilter, PacketWatch, parsePacketFilter } from '@tun/device'
import type { DumpArguments } from './args.js'
import { EXIT, execTapped } from './exec.js'
import { PacketLog } from './packet-log.js'
import { Sink } from './sink.js'

/** What is still in the queue at the end gets that long. */
const PATIENCE = 2000 // ms
const STDOUT = 1
const STDERR = 2

type Say = (line: string) => void

/** @param application as pcapng names it. @throws what the user has to be told */
export async function dump(options: DumpArguments, say: Say, application: string): Promise<number> {
  const filter = readFilter(options.filter)
  return options.device === undefined
    ? dumpCommand(options, filter, say, application)
    : dumpNic(options.device, options, filter, say, application)
}

async function dumpCommand(options: DumpArguments, filter: PacketFilter | undefined, say: Say, application: string): Promise<number> {
  const { command, proxy, config } = options
  let output: Output | undefined
  let log: PacketLog | undefined
  // Standard output is the capture's: the command's words go where its errors go.
  const stdio = options.write === '-' ? ([0, STDERR, STDERR] as const) : undefined
  const open = () => {
    output = new Output(options, STDERR, say)
    const made = new PacketLog({ interfaceName: 'tun0', application, filter, count: options.count, ...output.ways })
    log = made
    return (bytes: Uint8Array, outgoing: boolean) => made.packet(bytes, outgoing)
  }
  try {
    return await execTapped({ command, proxy, config, verbose: false }, say, { open, stdio })
  } finally {
    log?.end()
    await output?.end()
    if (log && (options.write !== undefined || log.leftOut > 0)) say(summary(log))
  }
}

async function dumpNic(
  nic: string,
  options: DumpArguments,
  filter: PacketFilter | undefined,
  say: Say,
  application: string,
): Promise<number> {
  let finish!: (why?: string) => void
  const end = new Promise<string | undefined>(resolve => {
    finish = resolve
  })
  let log: PacketLog | undefined
  // First: a mistake leaves no file behind, and the one that is there as it is.
  const watch = new PacketWatch(nic, {
    packet: bytes => {
      log?.packet(bytes)
      if (log?.isFull) finish()
    },
    ended: () => finish(`${nic} went down or was deleted`),
  })
  let output: Output
  try {
    output = new Output(options, STDOUT, say, () => finish())
  } catch (error) {
    watch.close()
    throw error
  }
  log = new PacketLog({ interfaceName: nic, application, filter, count: options.count, ...output.ways })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const stop = () => finish()
  for (const signal of signals) process.on(signal, stop)
  say(`listening on ${nic}`)
  try {
    const why = await end
    const { missed } = watch
    watch.close()
    log.end(missed)
    await output.end()
    if (why !== undefined) say(why)
    say(summary(log, missed))
    return output.failed ? EXIT.failed : 0
  } finally {
    watch.close()
    for (const signal of signals) process.off(signal, stop)
  }
}

function summary({ seen, leftOut }: PacketLog, missed = 0): string {
  const parts = [`${seen} ${seen === 1 ? 'packet' : 'packets'}`]
  if (leftOut > 0) parts.push(`${leftOut} of them left out: they were not read in time`)
  if (missed > 0) parts.push(`${missed} more missed: they came too fast`)
  return parts.join(', ')
}

function readFilter(text: string | undefined): PacketFilter | undefined {
  try {
    return text === undefined ? undefined : parsePacketFilter(text)
  } catch (error) {
    throw new TypeError(`--${(error as Error).message.replace(/^(the )?filter:? ?/, 'filter: ')}`)
  }
}

/** The places that lines and blocks go to. */
class Output {
  readonly ways: { line?: (text: string) => boolean; block?: (bytes: Uint8Array) => boolean }
  /** For another reason than that nobody reads any more. */
  failed = false
  private readonly sinks: { sink: Sink; what: string }[] = []
  private readonly say: Say

  /** @param gone nobody reads any more */
  constructor({ write, print }: DumpArguments, lines: number, say: Say, gone: () => void = () => {}) {
    this.say = say
    const sinkFor = (fd: number, what: string) => {
      const sink = new Sink(fd, ({ code }) => {
        this.failed ||= code !== 'EPIPE'
        say(code === 'EPIPE' ? `${what}: nobody reads any more` : `${what}: writing stopped (${code})`)
        gone()
      })
      this.sinks.push({ sink, what })
      return sink
    }
    const file = write === undefined ? undefined : sinkFor(write === '-' ? STDOUT : openFile(write), `--write ${write}`)
    const text = print ? sinkFor(lines, 'the lines') : undefined
    this.ways = {
      block: file && (bytes => file.write(bytes)),
      line: text && (line => text.write(Buffer.from(line))),
    }
  }

  async end(): Promise<void> {
    await Promise.all(
      this.sinks.map(async ({ sink, what }) => {
        if (!(await sink.end(PATIENCE))) this.say(`${what}: the end is missing: nobody read it for ${PATIENCE / 1000} s`)
      }),
    )
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'w')
  } catch (error) {
    throw new Error(`--write ${path}: it cannot be written (${(error as NodeJS.ErrnoException).code})`)
  }
}
