// Owns: the types of the addon. Numbers and columns are those of PacketBatch (@tun/stack); read that file first.

export type Ownership = 'take' | 'borrow' | 'dup'

export interface OpenOptions {
  /** Ask for IFF_VNET_HDR and the offloads behind it. Default true; without success the device is plain. */
  offload?: boolean
  /** Bytes. Set if different; see `Tun.mtuDenied`. For sockets: what `mtu` answers (default 1500). */
  mtu?: number
  /** Bring the NIC up where that is allowed. Default false. */
  up?: boolean
  /** Of a NIC opened by name, 4 or 16 bytes each. macOS and Windows. */
  addresses?: readonly { bytes: Uint8Array; prefix: number }[]
  /** 16 bytes, by which Windows knows the adapter again. */
  guid?: Uint8Array
}

/** `code` is the errno's name, `errno` negative as in Node, `detail` what the descriptor or NIC is if that is the reason. */
export interface NativeError extends Error {
  code: string
  errno: number
  syscall: string
  detail?: string
  /** The number of GetLastError(), on Windows. */
  win32?: number
}

export interface Tun {
  /** The NIC's name, for sockets `fdN`. */
  readonly name: string
  /** The NIC's number, 0 if it cannot be told. */
  readonly index: number
  readonly kind: 'tun' | 'socket'
  /** It has a vnet header: rows with CSUM_PARTIAL and gsoSize go to the kernel as they are. Without, they are completed and cut here. */
  readonly offload: boolean
  /** The TUN_F_* bits in force for receiving. */
  readonly offloadSet: number
  /** The NIC did not exist before and goes with us. */
  readonly created: boolean
  readonly persistent: boolean
  /** Setting the MTU was not permitted: the NIC is configured by somebody else. */
  readonly mtuDenied: boolean
  /** The descriptor, -1 when closed. For sendDescriptor(); everything else goes through this object. */
  readonly fd: number
  /** Bytes; asked of the kernel at every access. */
  readonly mtu: number
  readonly isUp: boolean

  /**
   * Reads packets into `slab` behind `used`, a row each from `count` on, and answers how many. table[0] status, table[1] errno,
   * table[2] the new `used`. Throws TypeError (ERR_TUN_BUFFER) for a detached or too small array, never for what the NIC did.
   */
  read(slab: Uint8Array, used: number, table: Int32Array, count: number, capacity: number): number

  /**
   * Writes rows [first, count) and answers how many are done. table[0] status, table[1] errno, table[3] rows refused (of those done),
   * table[4] segments already out of the row that was blocked (kept between calls, valid while table[0] stays BLOCKED).
   */
  write(
    headers: Uint8Array,
    table: Int32Array,
    capacity: number,
    pieceCapacity: number,
    first: number,
    count: number,
    pieces: readonly Uint8Array[],
  ): number

  /** Readable 1, writable 2, level triggered; 0 stops. A device that ended is not polled any more. */
  watch(events: 0): void
  watch(events: number, callback: (events: number) => void): void
  ref(): void
  unref(): void
  /** Another process has the descriptor, too: closing leaves offloads and O_NONBLOCK, which are shared, as they are. */
  handedOver(): void
  /** Idempotent; also within the callback. */
  close(): void
}

/** Throws NativeError, or an Error with code ERR_TUN_NATIVE_UNAVAILABLE or ERR_TUN_UNSUPPORTED_PLATFORM. */
export function open(target: { name: string } | { fd: number; ownership?: Ownership }, options?: OpenOptions): Tun
/** Loads the addon now; throws ERR_TUN_NATIVE_UNAVAILABLE if there is none, EMFILE or ENFILE if that cannot be found out now. */
export function load(): void
/** Two connected AF_UNIX descriptors, the ends of a socket device. */
export function socketpair(type?: 'dgram' | 'seqpacket' | 'stream'): [number, number]
/** Sends a descriptor over an AF_UNIX socket (SCM_RIGHTS), with one byte. Both stay open here. Throws NativeError. */
export function sendDescriptor(socket: number, fd: number): void
/**
 * Waits at most `timeoutMs` (default 5000, negative: for ever) and blocks meanwhile; answers a descriptor of this process, close-on-exec.
 * Throws NativeError: ETIMEDOUT; `detail` "ended" (ECONNRESET), "no-descriptor" or "several" (EPROTO; all are closed).
 */
export function receiveDescriptor(socket: number, timeoutMs?: number): number
/**
 * Sends what the socket takes now and answers how many bytes that were; it never waits, whatever O_NONBLOCK says, which belongs to whoever
 * else has the socket. Throws NativeError: EAGAIN, EPIPE.
 */
export function sendNow(socket: number, bytes: Uint8Array): number

export interface IsolateRequest {
  /** The program, looked for in PATH of `env`, and its arguments. */
  command: readonly string[]
  /** NAME=VALUE. */
  env: readonly string[]
  /** Become 0, 1 and 2 of the command; -1 is /dev/null. Default 0, 1, 2. */
  stdio?: readonly [number, number, number]
  /** The TUN in there. */
  name: string
  mtu?: number
  address4: string
  prefix4: number
  address6: string
  prefix6: number
  /** Directories that are empty in there. */
  masks: readonly string[]
  /** Files that are found in there instead: path, content, path, content… At most 26; one that a mask has removed is made. */
  files: readonly string[]
}

/** A child in namespaces of its own that waits to become the command. */
export interface Isolated {
  readonly pid: number
  /** The TUN's descriptor, whose owner is the caller: pass it to open() with `take`. */
  readonly tun: number
  /** Runs the command. Throws NativeError (`syscall` execve) if it cannot be run; the child is gone then. */
  start(): void
  /** Calls back while it has ended and takeExit() was not called. Once. */
  onExit(callback: () => void): void
  /** Exit code and number of the signal, one of them -1; undefined while it runs. Closes this object. */
  takeExit(): [code: number, signal: number] | undefined
  kill(signal: number): void
  /** Idempotent. A child that waits is given up; a command that runs is left alone. */
  close(): void
}

/**
 * Makes user (not as root), network and mount namespaces in a child, opens and configures the TUN there. Blocks some milliseconds.
 * Throws NativeError, whose `detail` is the step: user-namespace, namespaces, device-node, tun, network, mount, child.
 */
export function isolate(request: IsolateRequest): Isolated

/**
 * The kernel's sockets of one thread, numbered by slots, behind one epoll descriptor. A slot is given to another socket once the last answer
 * of wait() does not name it. Answers of -1 and below are negative errnos; TypeError (ERR_TUN_BUFFER) for a detached or too small array and
 * for what is no slot, never for what the network did.
 */
export interface SocketSet {
  /** Pairs of slot and events. Answers how many; at most 256. */
  wait(events: Int32Array): number
  /** Undefined when closed. */
  address(slot: number, peer?: boolean): [address: string, port: number] | undefined
  /** Calls while there is something for wait(). Once. */
  watch(callback: () => void): void
  ref(): void
  unref(): void
  /** Closes all sockets. Idempotent; also within the callback. */
  close(): void
}

/**
 * UDP in batches. A table is 8 words – status, errno, rows refused – and 14 columns of `capacity`: start, length, segment, the four words
 * of the address, port, errno of the row, hop limit, and the four words of who wrote a report; see packages/device/src/datagram-batch.ts.
 * Events: readable 1, writable 2 (while it is watched), reports are waiting 8; level triggered.
 */
export interface UdpSockets extends SocketSet {
  /**
   * The slot. A socket is of one family: those of IPv6 are IPV6_V6ONLY. It is bound if an address or a port is given, connected if a peer
   * is. Buffers are bytes asked for with SO_RCVBUF and SO_SNDBUF. `offload`, true unless it is false, is UDP_SEGMENT where the kernel has
   * it, and UDP_GRO once several datagrams have come at once. Throws NativeError: `syscall` socket, setsockopt (`detail` device, mark,
   * buffer…), bind, connect or epoll_ctl.
   */
  open(
    family: 4 | 6,
    address?: string,
    port?: number,
    peerAddress?: string,
    peerPort?: number,
    device?: string,
    mark?: number,
    receiveBuffer?: number,
    sendBuffer?: number,
    offload?: boolean,
  ): number
  /** Row i lies at i × stride and is cut off after `stride` bytes. Fewer rows than `capacity` (64 at most): there are no more. */
  receive(slot: number, slab: Uint8Array, stride: number, table: Int32Array, capacity: number): number
  /** Rows [first, count), whose bytes are copied; answers how many are done, refused ones included. BLOCKED: wait for writable. */
  send(slot: number, slab: Uint8Array, table: Int32Array, capacity: number, first: number, count: number): number
  /**
   * ICMP errors: a row each, with destination, errno, hops << 16 | type << 8 | code as segment, the MTU as hop limit, who said so, and,
   * at i × stride, what is quoted of the payload.
   */
  reports(slot: number, slab: Uint8Array, stride: number, table: Int32Array, capacity: number): number
  /** To be told while something may be sent; to be ended when it is. */
  watchWritable(slot: number, on: boolean): number
  closeSocket(slot: number): number
}

export function openUdpSockets(): UdpSockets
/** There is an addon and it has them: Linux. */
export function hasUdpSockets(): boolean

/** Events: readable 1, writable 2, failed 4, the peer has ended or reset 8 (both with the others); edge triggered. */
export interface TcpSockets extends SocketSet {
  /**
   * Begins to connect; the slot. TCP_NODELAY is set. Throws NativeError: `syscall` socket, bind, epoll_ctl or connect (`detail` device,
   * mark, setsockopt or connect).
   */
  open(family: 4 | 6, address: string, port: number, localAddress?: string, device?: string, mark?: number): number
  /** What became of it: 0, or why it failed. To be asked at the first event. */
  connected(slot: number): number
  /** Bytes taken; -EAGAIN: wait for WRITABLE. */
  send(slot: number, bytes: Uint8Array, start: number, end: number): number
  /** The same for `count` ranges at once, 64 at most, one behind the other: the i-th is bytes[i][bounds[2 * i], bounds[2 * i + 1]). */
  sendRanges(slot: number, bytes: Uint8Array[], bounds: Int32Array, count: number): number
  /** Bytes received; 0: the peer has ended; -EAGAIN: wait for READABLE, which is told once (edge triggered). */
  receive(slot: number, bytes: Uint8Array, start: number, end: number): number
  shutdown(slot: number): number
  /** With `reset` a RST is sent, and nothing that is queued. */
  closeSocket(slot: number, reset: boolean): number
  /** SO_KEEPALIVE after so many seconds; 0: off. */
  keepAlive(slot: number, seconds: number): number
  noDelay(slot: number, on: boolean): number
}

export function openTcpSockets(): TcpSockets
/** There is an addon and it has them: Linux. */
export function hasTcpSockets(): boolean

export interface NetlinkRequest {
  /** RTMGRP_* bits; 0: for questions only. */
  groups: number
  /** The descriptor of a TUN, whose network namespace is meant. Default: this process's. */
  nic?: number
}

/** A NETLINK_ROUTE socket, non-blocking. Messages are in the byte order of the machine. */
export interface Netlink {
  /** One datagram of the kernel into `buffer`: its length; 0: nothing waits; -1: some were lost (ENOBUFS), or it was longer: ask anew. */
  receive(buffer: Uint8Array): number
  /** A request: nlmsghdr and what belongs to it. Throws NativeError. */
  send(message: Uint8Array): void
  /** Level triggered; null stops. */
  watch(callback: (() => void) | null): void
  ref(): void
  unref(): void
  /** Idempotent; also within the callback. */
  close(): void
}

export interface PingRequest {
  family: 4 | 6
  /** Source address. */
  address?: string
  /** SO_BINDTODEVICE. */
  device?: string
  /** SO_MARK, an unsigned number of 32 bits. */
  mark?: number
}

/**
 * A socket for pings. A result is 13 words: bytes, sequence number, hop limit (of a report: MTU), the four words of who answered (of a
 * report: who was asked), hops << 16 | type << 8 | code, errno, and the four words of who reported; see packages/device/src/ping-socket.ts.
 * Throws TypeError (ERR_TUN_BUFFER) for a detached or too small array, never for what the network did.
 */
export interface Ping {
  /** It is a raw socket: this user's group is not in net.ipv4.ping_group_range, but it may open one. */
  readonly raw: boolean
  /** `to` are four words, hop limit 0 is the kernel's own. Answers an errno, 0: it left. */
  send(to: Int32Array, sequence: number, ttl: number, payload: Uint8Array): number
  /** The next answer, its payload at the front of `bytes`. False: there is none. */
  receive(bytes: Uint8Array, result: Int32Array): boolean
  /** The next ICMP error about a ping, what it quotes of its payload at the front of `bytes`. */
  report(bytes: Uint8Array, result: Int32Array): boolean
  /** As Tun has it; reports are waiting 8, told without being asked for. */
  watch(events: 0): void
  watch(events: number, callback: (events: number) => void): void
  ref(): void
  unref(): void
  /** Idempotent; also within the callback. */
  close(): void
}

/** Throws NativeError (`syscall` socket or bind), or an Error with code ERR_TUN_UNSUPPORTED_PLATFORM. */
export function openNetlink(request: NetlinkRequest): Netlink

/**
 * A socket (close-on-exec, non-blocking) that gets a copy of every packet of a NIC, both directions, without link-layer header: pass it to
 * open() with `take` and read. Throws NativeError: EPERM without CAP_NET_RAW, ENODEV if there is no such NIC.
 */
export function openPacketSocket(nic: string): number
/** Packets that did not fit in such a socket's queue since the last call. Throws NativeError. */
export function packetDrops(socket: number): number
/**
 * From now on it is counted who sends a signal. For after process.on(signal, …): without a handler it throws NativeError (EINVAL), and the
 * counting ends with process.off().
 */
export function countSenders(signal: number): void
/** How often the signal came since the last call: from the kernel (a key at the terminal), and from processes, by kill(2). */
export function takeSenders(signal: number): [kernel: number, processes: number]

/** Throws NativeError: `syscall` socket (EACCES: neither kind of socket is permitted), setsockopt (`detail` device, mark…) or bind. */
export function openPing(request: PingRequest): Ping

/** The Internet checksum of `bytes` (RFC 1071). */
export function checksum(bytes: Uint8Array): number
/** CSUM_GOOD (2), CSUM_BAD (4), or 0 where nothing can be verified (fragments, other protocols). */
export function verify(packet: Uint8Array): number
