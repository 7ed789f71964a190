// Owns: the N-API glue: arguments checked, errors with code, errno and syscall. Setting up goes through node-addon-api, the data
// path through napi_* (arguments.h).

#include <napi.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "checksum.h"
#include "descriptors.h"
#include "glue.h"
#include "isolate_object.h"
#include "netlink_object.h"
#include "observe_object.h"
#include "ping_object.h"
#include "tcp_object.h"
#include "tun.h"
#include "tun_watcher.h"
#include "udp_object.h"
#include "watched.h"

namespace tun {

class TunObject final : public Napi::ObjectWrap<TunObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Tun",
                       {InstanceAccessor<&TunObject::getMtu>("mtu"), InstanceAccessor<&TunObject::getIsUp>("isUp"),
                        InstanceAccessor<&TunObject::getFd>("fd"), rawMethod<TunObject>("read", read),
                        rawMethod<TunObject>("write", write), InstanceMethod<&TunObject::watch>("watch"),
                        InstanceMethod<&TunObject::ref>("ref"), InstanceMethod<&TunObject::unref>("unref"),
                        InstanceMethod<&TunObject::handedOver>("handedOver"), InstanceMethod<&TunObject::closeMethod>("close")});
  }

  explicit TunObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TunObject>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "use open()");
    tun.reset(info[0].As<Napi::External<Tun>>().Data());
    Napi::Object self = info.This().As<Napi::Object>();
    const Napi::Env env = info.Env();
    self.Set("name", tun->name);
    self.Set("index", Napi::Number::New(env, tun->index));
    self.Set("kind", tun->socket ? "socket" : "tun");
    self.Set("offload", Napi::Boolean::New(env, tun->offload.vnet));
    self.Set("offloadSet", Napi::Number::New(env, tun->offload.set));
    self.Set("created", Napi::Boolean::New(env, tun->created));
    self.Set("persistent", Napi::Boolean::New(env, tun->persistent));
    self.Set("mtuDenied", Napi::Boolean::New(env, tun->mtuDenied));
  }

  ~TunObject() override { closeAll(); }

 private:
  // read(slab, used, table, count, capacity): number of rows
  static napi_value read(napi_env env, napi_callback_info info) {
    size_t argc = 5;
    napi_value args[5], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "read");
    TunObject* object = unwrapped<TunObject>(env, self);
    Bytes slab, table;
    size_t used, count, capacity;
    if (object == nullptr || argc < 5 || !getArray(env, args[0], napi_uint8_array, slab) || !getSize(env, args[1], used) ||
        !getArray(env, args[2], napi_int32_array, table) || !getSize(env, args[3], count) || !getSize(env, args[4], capacity)) {
      return throwArgument(env, "read(slab: Uint8Array, used, table: Int32Array, count, capacity)");
    }
    if (table.length < Batch::wordsNeeded(capacity, 0)) return throwArgument(env, "table is detached or too small for its capacity");
    if (slab.length == 0 || slab.length > INT32_MAX || used > slab.length) return throwArgument(env, "slab is detached or too small");
    Batch batch(reinterpret_cast<int32_t*>(table.data), capacity, 0);
    if (count > capacity) return throwArgument(env, "count is beyond capacity");
    const size_t rows = object->tun->read(slab.data, slab.length, used, batch, count) - count;
    if (object->tun->ended) object->watched.stop();
    return answerCount(env, rows);
  }

  // write(headers, table, capacity, pieceCapacity, first, count, pieces): number of rows done
  static napi_value write(napi_env env, napi_callback_info info) {
    size_t argc = 7;
    napi_value args[7], self;
    if (napi_get_cb_info(env, info, &argc, args, &self, nullptr) != napi_ok) return throwArgument(env, "write");
    TunObject* object = unwrapped<TunObject>(env, self);
    Bytes headers, table;
    size_t capacity, pieceCapacity, first, count;
    bool isArray = false;
    uint32_t pieceTotal = 0;
    if (object == nullptr || argc < 7 || !getSize(env, args[2], capacity) || !getSize(env, args[3], pieceCapacity) ||
        !getSize(env, args[4], first) || !getSize(env, args[5], count) || napi_is_array(env, args[6], &isArray) != napi_ok || !isArray ||
        napi_get_array_length(env, args[6], &pieceTotal) != napi_ok) {
      return throwArgument(env, WRITE_USAGE);
    }
    // Before room is made for them: an array may claim four thousand million.
    if (pieceTotal > pieceCapacity) return throwArgument(env, "pieces are beyond their capacity");

    // An element may be a getter, which may detach anything: first all of them, then where the memory is. No JavaScript runs in between.
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return throwArgument(env, "write");
    std::vector<napi_value> elements = std::move(object->elements);
    elements.resize(pieceTotal);
    bool fine = true;
    for (uint32_t i = 0; i < pieceTotal && fine; i++) fine = napi_get_element(env, args[6], i, &elements[i]) == napi_ok;
    const char* wrong = fine ? nullptr : "pieces must be Uint8Arrays";
    size_t done = 0;
    if (fine) {
      if (!getArray(env, args[0], napi_uint8_array, headers) || !getArray(env, args[1], napi_int32_array, table)) {
        wrong = WRITE_USAGE;
      } else if (table.length < Batch::wordsNeeded(capacity, pieceCapacity)) {
        wrong = "table is detached or too small for its capacity";
      } else if (headers.length == 0) {
        wrong = "headers are detached";
      } else if (count > capacity || first > count) {
        wrong = "rows are beyond capacity";
      }
    }
    if (wrong == nullptr) {
      // Pieces of rows that are already out are not looked at: their owners may have them back.
      Batch batch(reinterpret_cast<int32_t*>(table.data), capacity, pieceCapacity);
      const uint32_t from = first < count && batch.pieceAt(first) > 0 ? static_cast<uint32_t>(batch.pieceAt(first)) : 0;
      object->pieces.assign(pieceTotal, Span{nullptr, 0});
      for (uint32_t i = from; i < pieceTotal && wrong == nullptr; i++) {
        Bytes bytes;
        if (!getArray(env, elements[i], napi_uint8_array, bytes)) wrong = "pieces must be Uint8Arrays";
        object->pieces[i] = {bytes.data, bytes.length};
      }
      if (wrong == nullptr) done = object->tun->write({headers.data, headers.length}, object->pieces, batch, first, count);
    }
    object->elements = std::move(elements);
    must(napi_close_handle_scope(env, scope), "write");
    return wrong == nullptr ? answerCount(env, done) : throwArgument(env, wrong);
  }

  void watch(const Napi::CallbackInfo& info) {
    watched.watch(info, tun->isOpen() && !tun->ended, watchedPart(*tun), [this] { closeAll(); });
  }

  void ref(const Napi::CallbackInfo&) { watched.setReferenced(true); }
  void unref(const Napi::CallbackInfo&) { watched.setReferenced(false); }
  void handedOver(const Napi::CallbackInfo&) { tun->handedOver = true; }
  void closeMethod(const Napi::CallbackInfo&) { closeAll(); }
  Napi::Value getFd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), tun->descriptor()); }
  Napi::Value getMtu(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), tun->mtu()); }
  Napi::Value getIsUp(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), tun->isUp()); }

  void closeAll() {
    watched.close();
    if (tun) tun->close();
  }

  std::unique_ptr<Tun> tun;
  Watched<TunWatcher> watched;
  std::vector<Span> pieces;
  std::vector<napi_value> elements;

  static constexpr const char* WRITE_USAGE =
      "write(headers, table: Int32Array, capacity, pieceCapacity, first, count, pieces: Uint8Array[])";
};

namespace {

bool flagOption(const Napi::Object& options, const char* key, bool fallback) {
  const Napi::Value value = options.Get(key);
  return value.IsUndefined() ? fallback : value.ToBoolean().Value();
}

/** [{ bytes, prefix }]: 4 bytes are IPv4, 16 are IPv6. */
std::vector<NicAddress> addressesOption(Napi::Env env, const Napi::Object& options) {
  std::vector<NicAddress> result;
  const Napi::Value value = options.Get("addresses");
  if (value.IsUndefined()) return result;
  const char* expected = "addresses must be [{ bytes: Uint8Array(4 or 16), prefix }]";
  if (!value.IsArray()) throw Napi::TypeError::New(env, expected);
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value element = array.Get(i);
    if (!element.IsObject()) throw Napi::TypeError::New(env, expected);
    const Napi::Object object = element.As<Napi::Object>();
    Bytes bytes;
    NicAddress address;
    address.prefix = integerOption(env, object, "prefix", -1);
    if (!getArray(env, object.Get("bytes"), napi_uint8_array, bytes) || (bytes.length != 4 && bytes.length != 16)) {
      throw Napi::TypeError::New(env, expected);
    }
    address.v6 = bytes.length == 16;
    if (address.prefix < 0 || address.prefix > static_cast<int>(bytes.length * 8)) throw Napi::TypeError::New(env, expected);
    std::memcpy(address.bytes, bytes.data, bytes.length);
    result.push_back(address);
  }
  return result;
}

// open({ name } | { fd, ownership }, { offload, mtu, up, addresses, guid }): Tun
Napi::Value open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) throw Napi::TypeError::New(env, "open({ name } | { fd, ownership }, options)");
  const Napi::Object target = info[0].As<Napi::Object>();
  const Napi::Object options = info[1].IsObject() ? info[1].As<Napi::Object>() : Napi::Object::New(env);
  OpenRequest request;
  request.offload = flagOption(options, "offload", true);
  request.mtu = integerOption(env, options, "mtu", 0);
  request.up = flagOption(options, "up", false);
  request.addresses = addressesOption(env, options);
  Bytes guid;
  if (getArray(env, options.Get("guid"), napi_uint8_array, guid)) request.guid.assign(guid.data, guid.data + guid.length);
  if (target.Get("name").IsString()) {
    request.name = target.Get("name").As<Napi::String>().Utf8Value();
    if (request.name.empty()) throw Napi::TypeError::New(env, "name must not be empty");
  } else {
    request.fd = integerOption(env, target, "fd", -1);
    const Napi::Value ownership = target.Get("ownership");
    const std::string word = ownership.IsString() ? ownership.As<Napi::String>().Utf8Value() : "take";
    if (word != "take" && word != "borrow" && word != "dup") throw Napi::TypeError::New(env, "ownership must be take, borrow or dup");
    request.ownership = word == "take" ? Ownership::TAKE : word == "dup" ? Ownership::DUP : Ownership::BORROW;
  }
  Failure failure;
  std::unique_ptr<Tun> tun = Tun::open(request, failure);
  if (!tun) throw systemError(env, failure);
  // From here on the object owns it: its constructor takes the pointer first of all.
  return env.GetInstanceData<Napi::FunctionReference>()->New({Napi::External<Tun>::New(env, tun.release())});
}

Napi::Value socketPair(const Napi::CallbackInfo& info) {
  const std::string type = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "seqpacket";
  int ends[2];
  Failure failure;
  if (!makeSocketPair(type, ends, failure)) throw systemError(info.Env(), failure);
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, ends[0]);
  result.Set(1u, ends[1]);
  return result;
}

// sendDescriptor(socket, fd)
void sendDescriptorMethod(const Napi::CallbackInfo& info) {
  int socket = -1, fd = -1;
  if (!getInteger(info[0], socket) || !getInteger(info[1], fd)) throw Napi::TypeError::New(info.Env(), "sendDescriptor(socket, fd)");
  Failure failure;
  if (!sendDescriptor(socket, fd, failure)) throw systemError(info.Env(), failure);
}

// receiveDescriptor(socket, timeoutMs): fd
Napi::Value receiveDescriptorMethod(const Napi::CallbackInfo& info) {
  int socket = -1, timeoutMs = 0;
  if (!getInteger(info[0], socket) || !getInteger(info[1], timeoutMs)) {
    throw Napi::TypeError::New(info.Env(), "receiveDescriptor(socket, timeoutMs)");
  }
  Failure failure{EBADF, "recvmsg", ""};  // poll(2) would wait for a negative descriptor as long as it is told
  const int fd = socket < 0 ? -1 : receiveDescriptor(socket, timeoutMs, failure);
  if (fd < 0) throw systemError(info.Env(), failure);
  return Napi::Number::New(info.Env(), fd);
}

// sendNow(socket, bytes): how many were taken
Napi::Value sendNowMethod(const Napi::CallbackInfo& info) {
  int socket = -1;
  Bytes bytes;
  if (!getInteger(info[0], socket) || !getArray(info.Env(), info[1], napi_uint8_array, bytes)) {
    throw Napi::TypeError::New(info.Env(), "sendNow(socket, bytes: Uint8Array)");
  }
  Failure failure;
  const int64_t sent = sendNow(socket, bytes.data, bytes.length, failure);
  if (sent < 0) throw systemError(info.Env(), failure);
  return Napi::Number::New(info.Env(), static_cast<double>(sent));
}

Bytes bytesArgument(const Napi::CallbackInfo& info) {
  Bytes bytes;
  if (info.Length() < 1 || !getArray(info.Env(), info[0], napi_uint8_array, bytes)) {
    throw Napi::TypeError::New(info.Env(), "expected a Uint8Array");
  }
  return bytes;
}

// checksum(bytes): the value for a checksum field over them (RFC 1071), as a big-endian number
Napi::Value checksum(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytesArgument(info);
  Sum sum;
  sum.add(bytes.data, bytes.length);
  const uint16_t value = sum.complement();
  uint8_t order[2];
  std::memcpy(order, &value, 2);
  return Napi::Number::New(info.Env(), order[0] << 8 | order[1]);
}

// verify(packet): CSUM_GOOD, CSUM_BAD or 0
Napi::Value verify(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytesArgument(info);
  return Napi::Number::New(info.Env(), verifyChecksum(bytes.data, bytes.length));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Napi::FunctionReference(Napi::Persistent(TunObject::define(env))));
  exports.Set("open", Napi::Function::New<open>(env, "open"));
  exports.Set("socketpair", Napi::Function::New<socketPair>(env, "socketpair"));
  exports.Set("sendDescriptor", Napi::Function::New<sendDescriptorMethod>(env, "sendDescriptor"));
  exports.Set("receiveDescriptor", Napi::Function::New<receiveDescriptorMethod>(env, "receiveDescriptor"));
  exports.Set("sendNow", Napi::Function::New<sendNowMethod>(env, "sendNow"));
  exports.Set("Isolated", IsolatedObject::define(env));
  exportTcp(env, exports);
  exportUdp(env, exports);
  exportNetlink(env, exports);
  exportObservers(env, exports);
  exportPing(env, exports);
  exports.Set("checksum", Napi::Function::New<checksum>(env, "checksum"));
  exports.Set("verify", Napi::Function::New<verify>(env, "verify"));
  return exports;
}

}  // namespace

}  // namespace tun

Napi::Object initTunNative(Napi::Env env, Napi::Object exports) { return tun::init(env, exports); }

NODE_API_MODULE(NODE_GYP_MODULE_NAME, initTunNative)
