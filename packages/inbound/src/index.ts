export { ConfigError, type DnsOptions, type TunOptions } from '@tun/config'
export { TunError, type Uplink } from '@tun/device'
export {
  type EchoAnswer,
  type EchoCarrier,
  type EchoRefusal,
  type PathFailure,
  type PathReport,
  type RejectReason,
  TunDatagram,
  TunEcho,
  TunFlow,
  TunPacket,
  TunSocket,
} from '@tun/stack'
export type { ConnectOptions } from './active-open.js'
export type { ServiceAddress } from './address-match.js'
export { createTunInbound } from './create-tun-inbound.js'
export { type DirectOptions, direct, type Lookup, type ResolvedAddress } from './direct.js'
export { type HttpConnectOptions, type HttpProxy, httpConnect } from './http-connect.js'
export type { TunInboundEvents } from './inbound-events.js'
export type { NameserverDestination, NameserverOutbound } from './nameserver-ways.js'
export type { Limits, TunInboundOptions } from './options.js'
export {
  type DatagramFlow,
  type DatagramOutbound,
  type Destination,
  DialError,
  type Endpoint,
  formatDestination,
  type Outbound,
  type Ping,
} from './outbound.js'
export { type RelayOptions, type RelayReason, type RelayResult, relay, type Upstream } from './relay.js'
export { type DatagramRoute, type RelayDatagramsOptions, relayDatagrams } from './relay-datagrams.js'
export type { Listener, SocketHandler, SocketServer } from './services.js'
export * from './socks5.js'
export {
  decodeAddress as decodeSocksAddress,
  encodeAddress as encodeSocksAddress,
  restLength as socksAddressRest,
} from './socks5-address.js'
export { TunInbound } from './tun-inbound.js'
