// Owns: `tun exec`: the command in its namespaces, the inbound out here, and what passes between them. Nothing here touches process.stdin,
// stdout or stderr: libuv would make them non-blocking, and the command has the same ones.

import { getServers } from 'node:dns'
import { openSync, readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { nameserver } from '@tun/config'
import { type IsolatedProcess, isolate, packetTap, pcapTap, type SeePacket, type TunDevice, TunError } from '@tun/device'
import {
  createTunInbound,
  type Destination,
  formatDestination,
  type Outbound,
  relay,
  relayDatagrams,
  Socks5ReplyError,
  type TunInboundOptions,
} from '@tun/inbound'
import type { ExecArguments } from './args.js'
import { answerPings } from './pings.js'
import { forwardSignals } from './signals.js'
import { Sink } from './sink.js'
import { Unsent } from './unsent.js'
import { readFile, type Way, wayOf } from './way.js'

/** Exit codes of the programs that run programs: env(1), timeout(1), POSIX's shell. */
export const EXIT = { failed: 125, notExecutable: 126, notFound: 127, signal: 128 } as const

/** Fake addresses for both families: the way out gets the name, so each name has both. */
const DNS = { enable: true, ipv6: true, 'enhanced-mode': 'fake-ip', 'fake-ip-range6': 'fc00::/18' } as const

const NAMESERVER = '198.18.0.2'
/** Any address answers there; this one is said as well, so that no name gets it for its own. */
const DNS_PLACES = { 'dns-listen': '0.0.0.0:53', 'dns-hijack': [`${NAMESERVER}:53`] }

/** Lines about connections that wait for a reader, at the end. */
const PATIENCE = 1000 // ms

/** A reset that does not get out in that time will not. */
const RESETTING = 100 // ms

type Say = (line: string) => void
const STDERR = 2

export interface Tap {
  /**
   * Called when all else is found good, so that a mistake leaves no file behind; the answer gets every packet, as packetTap() shows it.
   */
  open: () => SeePacket
  /** The command's descriptors 0, 1 and 2; undefined: ours. */
  stdio?: readonly [number, number, number]
}

/** Runs the command to its end and answers the exit code. @throws what the user has to be told */
export async function exec({ pcap, ...options }: ExecArguments, say: Say): Promise<number> {
  return execThrough(options, say, () => {
    const record = pcap === undefined ? undefined : recorder(pcap, say)
    return device => (record ? pcapTap(device, { write: record }) : device)
  })
}

/** The same, with its packets shown. */
export async function execTapped(options: Omit<ExecArguments, 'pcap'>, say: Say, { open, stdio }: Tap): Promise<number> {
  const prepare = (): Wrap => {
    const see = open()
    return device => packetTap(device, see)
  }
  return execThrough(options, say, prepare, stdio)
}

type Wrap = (device: TunDevice) => NonNullable<TunInboundOptions['device']>

async function execThrough(options: Omit<ExecArguments, 'pcap'>, say: Say, prepare: () => Wrap, stdio?: Tap['stdio']): Promise<number> {
  const { command, proxy, config, verbose } = options
  const chosen = proxy === undefined && config !== undefined ? undefined : wayOf(proxy)
  const file = config === undefined ? undefined : readFile(readText(config), config, chosen)
  for (const warning of file?.warnings ?? []) say(warning)
  const way = file?.way ?? (chosen as Way)
  const wrap = prepare()

  const isolated = isolate(command, { nameserver: NAMESERVER, ...(stdio && { stdio }) })
  // Other types than A and AAAA: asked where this machine asks, or, behind a proxy, nobody: it would give away what is looked up.
  const nameservers = way.isDirect ? getServers().filter(server => nameserver.safeParse(server).success) : []
  const inbound = await createTunInbound({
    device: wrap(isolated.device),
    tun: DNS_PLACES,
    dns: { ...DNS, nameserver: nameservers, ...file?.dns },
  }).catch(error => {
    isolated.close()
    isolated.device.close()
    throw error
  })
  // As many as there are connections: whoever does not read them does not hold those up.
  const lines = verbose ? new Sink(STDERR, () => {}) : undefined
  const log = (line: string) => void lines?.write(Buffer.from(`tun: ${line}\n`))
  const unsent = new Unsent()
  const outbound = unsent.watch(way.isDirect ? way.outbound : complaining(way.outbound, say))
  const relays = new Set<Promise<unknown>>()
  inbound.on('connection', async socket => {
    const { destination } = socket
    log(`TCP ${formatDestination(destination)} by ${way.name}`)
    const relayed = relay(socket, outbound)
    relays.add(relayed)
    const { reason, error } = await relayed
    relays.delete(relayed)
    if (reason === 'dial-failed') log(`TCP ${formatDestination(destination)}: ${error?.message}`)
  })
  inbound.on('flow', flow => {
    const seen = new Set<string>()
    relayDatagrams(flow, destination => {
      if (verbose) logOnce(seen, destination, way, log)
      return outbound
    })
  })
  inbound.on('icmp', answerPings(file?.pings ?? 'forward', way.outbound.ping, say, log))
  inbound.on('warning', say)
  inbound.on('error', error => say(error.message))
  try {
    const code = await runToEnd(isolated)
    await unsent.settle(() => say('the command has ended; what it has sent is still on its way (Ctrl-C stops that)'))
    return code
  } finally {
    await inbound.close()
    // What is cut off is reset: the end of our process would look like its proper end to the other side.
    await Promise.race([Promise.all(relays), sleep(RESETTING, undefined, { ref: false })])
    await lines?.end(PATIENCE)
  }
}

async function runToEnd(isolated: IsolatedProcess): Promise<number> {
  const stop = forwardSignals(signal => isolated.kill(signal))
  try {
    isolated.start()
    const { code, signal } = await isolated.exited
    return signal === null ? (code as number) : EXIT.signal + constants.signals[signal]
  } finally {
    stop()
  }
}

/** The code for a command that could not be run; undefined if that is not what happened. */
export function exitCodeOf(error: unknown): number | undefined {
  if (!(error instanceof TunError) || error.code !== 'ERR_TUN_COMMAND') return undefined
  return error.errno === -constants.errno.ENOENT ? EXIT.notFound : EXIT.notExecutable
}

/** The application sees "connection refused" and thinks of the server: that it is the proxy is said, once for each reason. */
function complaining(outbound: Outbound, say: Say): Outbound {
  const said = new Set<string>()
  const complain = (error: NodeJS.ErrnoException, signal: AbortSignal | undefined): never => {
    const code = error.code ?? ''
    if (!(error instanceof Socks5ReplyError) && !signal?.aborted && !said.has(code)) {
      said.add(code)
      say(error.message)
    }
    throw error
  }
  const { associate } = outbound
  return {
    dial: (destination, signal) => outbound.dial(destination, signal).catch(error => complain(error, signal)),
    associate: associate && ((flow, signal) => associate(flow, signal).catch(error => complain(error, signal))),
  }
}

function logOnce(seen: Set<string>, destination: Destination, way: Way, log: Say): void {
  const name = formatDestination(destination)
  if (seen.has(name) || seen.size > 1000) return
  seen.add(name)
  log(`UDP ${name} by ${way.name}`)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(`--config ${path}: it cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** Writes as it goes: the file is whole whatever ends us. A full disk ends the recording, not the command. */
function recorder(path: string, say: Say): (bytes: Uint8Array) => void {
  let fd: number
  try {
    fd = openSync(path, 'w')
  } catch (error) {
    throw new Error(`--pcap ${path}: it cannot be written (${(error as NodeJS.ErrnoException).code})`)
  }
  let failed = false
  return bytes => {
    if (failed) return
    try {
      writeSync(fd, bytes)
    } catch (error) {
      failed = true
      say(`--pcap ${path}: recording stopped (${(error as NodeJS.ErrnoException).code})`)
    }
  }
}
