// Owns: the program: command line → configuration → a running inbound → its end. Every failure is one line on stderr and exit code 1.

import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { ConfigError, formatDiagnostic, formatReport } from '@tun/config'
import { type Account, findAccount } from '@tun/device'
import {
  createTunInbound,
  direct,
  type Lookup,
  type NameserverOutbound,
  relay,
  relayDatagrams,
  TunError,
  type TunSocket,
} from '@tun/inbound'
import { parseArgs, USAGE } from './args.js'
import { become } from './become.js'
import { type Config, readConfig } from './config.js'
import { createLog, type Log } from './log.js'
import { answerPing } from './pings.js'
import { Router } from './router.js'

/** Set by tsup from package.json. */
declare const VERSION: string

type Inbound = Awaited<ReturnType<typeof createTunInbound>>

const DRAIN = 500 // ms that open connections get after SIGTERM to send what they have
const PATIENCE = 2000 // ms until the process ends even if something does not close

/** Which key is at fault, by the error's code. */
const LATE_ERRORS: Record<string, string[] | undefined> = {
  ERR_TUN_LOCAL_ADDRESS: ['tun', 'dns-listen'],
  ERR_TUN_FAKE_IP_RANGE: ['dns', 'fake-ip-range'],
  ERR_TUN_DNS_LISTEN: ['dns', 'listen'],
}

export async function run(argv: readonly string[]): Promise<void> {
  process.stderr.on('error', () => {}) // whoever read it has gone; the traffic has not
  const command = parseArgs(argv)
  switch (command.do) {
    case 'help':
      return void process.stdout.write(`${USAGE}\n`)
    case 'version':
      return void process.stdout.write(`clash-proxy ${VERSION}\n`)
    case 'complain':
      return fail(command.message)
  }
  try {
    const file = command.file
    const shown = relative(process.cwd(), file)
    const name = shown.startsWith('..') ? file : shown
    const account = command.user === undefined ? undefined : findAccount(command.user)
    if (command.do === 'check') check(name, file)
    else await start(name, file, account)
  } catch (error) {
    fail(error)
  }
}

/** The names of proxies and DIRECT destinations: asked upstream once there is an inbound with DNS, for the system may answer fake IPs. */
class Names {
  inbound: Inbound | undefined
  readonly lookup: Lookup = async (host, signal) => (this.inbound ? this.inbound.resolveDirect(host, signal) : bySystem(host))
  readonly lookupServer: Lookup = async (host, signal) => (this.inbound ? this.inbound.resolveServer(host, signal) : bySystem(host))
}

async function bySystem(host: string) {
  const { promises } = await import('node:dns')
  return promises.lookup(host, { all: true, verbatim: true })
}

function load(name: string, file: string, { lookup, lookupServer }: Names): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { errno = 0, code } = error as NodeJS.ErrnoException
    throw new Error(`${name} cannot be read: ${getSystemErrorMap().get(errno)?.[1] ?? 'unknown error'} (${code})`)
  }
  const config = readConfig(text, name, { direct: direct({ lookup }), lookup: lookupServer })
  if (!config.tun.enable) throw new Error(`${name}: tun.enable is not true: there is nothing to do`)
  return config
}

function check(name: string, file: string): void {
  process.stderr.write(formatReport(load(name, file, new Names()).warnings, name))
  process.stdout.write(`${name}: configuration ok\n`)
}

async function start(name: string, file: string, account: Account | undefined): Promise<void> {
  const names = new Names()
  const config = load(name, file, names)
  const { tun, dns, mode, ipv6, rules, targets, level } = config
  const log = createLog(level, line => process.stderr.write(line))
  for (const told of config.warnings) {
    const line = formatDiagnostic({ ...told, severity: 'error' }, name) // the log's level says what it is
    if (told.severity === 'note') log.info?.(line)
    else log.warning?.(line)
  }

  const resolve: Lookup = (host, signal) => inbound.resolve(host, signal)
  const router = new Router<TunSocket>({ mode, ipv6, rules, targets, log, relay, resolve })
  const outbound: NameserverOutbound = (to, network) => router.forNameserver(to, network)
  const inbound = await createTunInbound({ tun, dns: { ...dns, outbound } }).catch((error: Error & { code?: string }) => {
    // What only opening could find out belongs to a line of the file all the same.
    const path = error instanceof TunError ? ['tun', 'device-url'] : LATE_ERRORS[error.code ?? '']
    if (path === undefined) throw error
    const { line, column } = config.locate(path)
    error.message = `${name}:${line}:${column}: ${path.join('.')}: ${error.message}`
    throw error
  })
  if (account) become(account, dns) // in the same tick: no packet has been looked at
  if (dns.enable) names.inbound = inbound
  inbound.on('connection', socket => router.route(socket))
  inbound.on('flow', flow => {
    const { source } = flow
    relayDatagrams(flow, to => router.routeDatagrams(source, to), { failed: (error, to) => router.datagramsFailed(source, to, error) })
  })
  inbound.on('icmp', ping => answerPing(config.icmp, ping, each => router.routePing(each)))
  // Options are checked there as well; what the file was told already is not said twice.
  inbound.on('warning', message => config.warnings.some(told => message.includes(told.message)) || log.warning?.(message))
  inbound.on('error', error => log.error?.(describe(error).join('; ')))
  live(inbound, log)
  log.info?.(`[TUN] ${tun['device-url']} is ${inbound.name}, mtu ${inbound.mtu}, mode ${mode}, ${rules.size} rules`)
  if (account) log.info?.(`[USER] ${account.name}, uid ${account.uid}, gid ${account.gid}`)
}

/** From here on nothing but a signal or the end of the TUN ends the process. */
function live(inbound: Inbound, log: Log): void {
  let ending = false
  const end = (signal: string) => {
    if (ending) process.exit(1) // the second time: at once
    ending = true
    log.info?.(`${signal}: closing`)
    setTimeout(() => process.exit(0), PATIENCE)
    inbound.close({ drain: DRAIN }).then(
      () => process.exit(0),
      error => fail(error),
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  inbound.on('close', () => {
    if (!ending) fail(`${inbound.name} is gone`)
  })
  // One connection's mistake is not the others' end.
  process.on('uncaughtException', error => log.error?.(`internal error: ${describe(error).join('; ')}`))
}

/**
 * Says why, by the report of a bad file or in a line for the reason and one for the fix, and ends the process: never with a stack trace.
 */
function fail(reason: unknown): void {
  const lines = () => describe(reason).map(line => `clash-proxy: ${line}\n`)
  process.stderr.write(reason instanceof ConfigError ? reason.report : lines().join(''))
  process.exit(1)
}

/** What happened, with the error's code; then what fixes it, on a line of its own to be copied from. */
function describe(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)]
  const { message, code, hint } = error as Error & { code?: string; hint?: string }
  const cause = (hint !== undefined && message.endsWith(`; ${hint}`) ? message.slice(0, -hint.length - 2) : message).replaceAll('\n', ' ')
  const line = code === undefined || cause.includes(code) ? cause : `${cause} (${code})`
  return hint === undefined ? [line] : [line, hint]
}
