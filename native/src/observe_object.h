// Owns: the N-API glue of what only looks: packets of a NIC (packet.h), senders of signals (signals.h).

#pragma once

#include <napi.h>

#include "glue.h"
#include "packet.h"
#include "signals.h"

namespace tun {

#ifdef __linux__

// openPacketSocket(nic): fd
inline Napi::Value openPacketSocketMethod(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "openPacketSocket(nic: string)");
  Failure failure;
  const int socket = openPacketSocket(info[0].As<Napi::String>().Utf8Value(), failure);
  if (socket < 0) throw systemError(info.Env(), failure);
  return Napi::Number::New(info.Env(), socket);
}

// packetDrops(fd): number
inline Napi::Value packetDropsMethod(const Napi::CallbackInfo& info) {
  int socket = -1;
  if (!getInteger(info[0], socket)) throw Napi::TypeError::New(info.Env(), "packetDrops(socket: number)");
  unsigned drops = 0;
  Failure failure;
  if (!packetDrops(socket, drops, failure)) throw systemError(info.Env(), failure);
  return Napi::Number::New(info.Env(), drops);
}

// countSenders(signal)
inline void countSendersMethod(const Napi::CallbackInfo& info) {
  int signal = -1;
  if (!getInteger(info[0], signal)) throw Napi::TypeError::New(info.Env(), "countSenders(signal: number)");
  Failure failure;
  if (!countSenders(signal, failure)) throw systemError(info.Env(), failure);
}

// takeSenders(signal): [kernel, processes]
inline Napi::Value takeSendersMethod(const Napi::CallbackInfo& info) {
  int signal = -1;
  if (!getInteger(info[0], signal)) throw Napi::TypeError::New(info.Env(), "takeSenders(signal: number)");
  const Senders senders = takeSenders(signal);
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, senders.kernel);
  result.Set(1u, senders.processes);
  return result;
}

inline void exportObservers(Napi::Env env, Napi::Object exports) {
  exports.Set("openPacketSocket", Napi::Function::New<openPacketSocketMethod>(env, "openPacketSocket"));
  exports.Set("packetDrops", Napi::Function::New<packetDropsMethod>(env, "packetDrops"));
  exports.Set("countSenders", Napi::Function::New<countSendersMethod>(env, "countSenders"));
  exports.Set("takeSenders", Napi::Function::New<takeSendersMethod>(env, "takeSenders"));
}

#else

/** Elsewhere they are missing. */
inline void exportObservers(Napi::Env, Napi::Object) {}

#endif

}  // namespace tun
