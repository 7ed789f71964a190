'use strict'
// Owns: finding and loading the addon. Requiring this file never throws; using it without a build does, with the fix.

const fs = require('node:fs')
const path = require('node:path')

let addon
/** Why there is none. Looking for it takes a while, and it does not come while we run. */
let missing

function load() {
  if (addon) return addon
  if (missing) throw missing
  try {
    // TUN_NATIVE_ROOT: another build of the same sources, e.g. with sanitizers (scripts/asan.mjs).
    addon = require('node-gyp-build')(process.env.TUN_NATIVE_ROOT || __dirname)
  } catch (cause) {
    haveDescriptor() // node-gyp-build does not tell of a directory that could not be read, only that nothing was found
    // Its error has no code.
    const script = path.join(__dirname, 'scripts', 'install.mjs')
    const hint = `install a C++ compiler (Debian: apt-get install build-essential), then: node ${script}`
    const error = new Error(`the native part of @tun/native cannot be loaded on ${process.platform}-${process.arch}; ${hint}`, { cause })
    error.code = 'ERR_TUN_NATIVE_UNAVAILABLE'
    error.hint = hint
    missing = error
    throw error
  }
  return addon
}

/** Throws EMFILE or ENFILE, which pass, where not even this file can be opened; it need not lie here any more. */
function haveDescriptor() {
  try {
    fs.closeSync(fs.openSync(__filename, 'r'))
  } catch (error) {
    if (error.code === 'EMFILE' || error.code === 'ENFILE') throw error
  }
}

/** An object of the addon that not every platform has. */
function make(name, request) {
  const Class = load()[name]
  if (Class) return new Class(request)
  const [code, syscall] = ['ERR_TUN_UNSUPPORTED_PLATFORM', `open${name}`]
  throw Object.assign(new Error(`${code}: ${syscall}`), { code, syscall })
}

function has(name) {
  try {
    return load()[name] !== undefined
  } catch {
    return false
  }
}

exports.load = () => void load()
exports.open = (target, options) => load().open(target, options)
exports.socketpair = type => load().socketpair(type)
exports.sendDescriptor = (socket, fd) => load().sendDescriptor(socket, fd)
exports.receiveDescriptor = (socket, timeoutMs = 5000) => load().receiveDescriptor(socket, timeoutMs)
exports.sendNow = (socket, bytes) => load().sendNow(socket, bytes)
exports.isolate = request => new (load().Isolated)(request)
exports.openPing = request => make('Ping', request)
exports.openUdpSockets = () => make('UdpSockets')
exports.hasUdpSockets = () => has('UdpSockets')
exports.openTcpSockets = () => make('TcpSockets')
exports.hasTcpSockets = () => has('TcpSockets')
exports.openNetlink = request => make('Netlink', request)
exports.openPacketSocket = nic => load().openPacketSocket(nic)
exports.packetDrops = socket => load().packetDrops(socket)
exports.countSenders = signal => load().countSenders(signal)
exports.takeSenders = signal => load().takeSenders(signal)
exports.checksum = bytes => load().checksum(bytes)
exports.verify = packet => load().verify(packet)
