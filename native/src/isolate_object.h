// Owns: isolate.h as a JavaScript object: new Isolated(request), start(), onExit(callback), kill(), close().

#pragma once

#include <napi.h>

#ifdef __linux__
#include <arpa/inet.h>
#include <sys/wait.h>

#include "isolate.h"
#include "watcher.h"
#endif

#include "glue.h"

namespace tun {

#ifdef __linux__

class IsolatedObject final : public Napi::ObjectWrap<IsolatedObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Isolated",
                       {InstanceMethod<&IsolatedObject::start>("start"), InstanceMethod<&IsolatedObject::onExit>("onExit"),
                        InstanceMethod<&IsolatedObject::takeExit>("takeExit"), InstanceMethod<&IsolatedObject::kill>("kill"),
                        InstanceMethod<&IsolatedObject::close>("close")});
  }

  explicit IsolatedObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IsolatedObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) throw Napi::TypeError::New(env, "new Isolated(request)");
    const Napi::Object options = info[0].As<Napi::Object>();
    IsolateRequest request;
    request.command = strings(env, options, "command");
    request.env = strings(env, options, "env");
    request.masks = strings(env, options, "masks");
    const std::vector<std::string> files = strings(env, options, "files");
    if (files.size() > 2 * 26) throw Napi::TypeError::New(env, "files must be 26 at most");
    for (size_t i = 0; i + 1 < files.size(); i += 2) request.files.emplace_back(files[i], files[i + 1]);
    const Napi::Value stdio = options.Get("stdio");
    for (uint32_t i = 0; i < 3 && stdio.IsArray(); i++) {
      const Napi::Value fd = stdio.As<Napi::Array>().Get(i);
      if (!getInteger(fd, request.stdio[i])) throw Napi::TypeError::New(env, "stdio must be three descriptors");
    }
    request.name = text(env, options, "name");
    request.mtu = integerOption(env, options, "mtu", 1500);
    request.prefix4 = integerOption(env, options, "prefix4", 32);
    request.prefix6 = integerOption(env, options, "prefix6", 128);
    if (request.command.empty()) throw Napi::TypeError::New(env, "command must not be empty");
    if (request.name.empty() || request.name.size() > 15) throw Napi::TypeError::New(env, "name must have 1 to 15 bytes");
    if (request.prefix4 < 0 || request.prefix4 > 32 || request.prefix6 < 0 || request.prefix6 > 128 ||
        inet_pton(AF_INET, text(env, options, "address4").c_str(), &request.address4) != 1 ||
        inet_pton(AF_INET6, text(env, options, "address6").c_str(), &request.address6) != 1) {
      throw Napi::TypeError::New(env, "address4 and address6 must be addresses, prefix4 and prefix6 their lengths");
    }
    Failure failure;
    if (!isolate(request, isolated, failure)) throw systemError(env, failure);
    Napi::Object self = info.This().As<Napi::Object>();
    self.Set("pid", Napi::Number::New(env, isolated.pid));
    self.Set("tun", Napi::Number::New(env, isolated.tun));
  }

  ~IsolatedObject() override { closeAll(); }

 private:
  static std::string text(Napi::Env env, const Napi::Object& options, const char* key) {
    const Napi::Value value = options.Get(key);
    if (!value.IsString()) throw Napi::TypeError::New(env, std::string(key) + " must be a string");
    std::string result = value.As<Napi::String>().Utf8Value();
    // It would be cut there, and a command run that nobody asked for.
    if (result.find('\0') != std::string::npos) throw Napi::TypeError::New(env, std::string(key) + " contains a NUL");
    return result;
  }

  static std::vector<std::string> strings(Napi::Env env, const Napi::Object& options, const char* key) {
    const Napi::Value value = options.Get(key);
    if (!value.IsArray()) throw Napi::TypeError::New(env, std::string(key) + " must be an array of strings");
    const Napi::Array array = value.As<Napi::Array>();
    std::vector<std::string> result;
    for (uint32_t i = 0; i < array.Length(); i++) {
      const Napi::Value element = array.Get(i);
      if (!element.IsString()) throw Napi::TypeError::New(env, std::string(key) + " must be an array of strings");
      result.push_back(element.As<Napi::String>().Utf8Value());
      if (result.back().find('\0') != std::string::npos) throw Napi::TypeError::New(env, std::string(key) + " contains a NUL");
    }
    return result;
  }

  void start(const Napi::CallbackInfo& info) {
    if (isolated.channel < 0) throw Napi::TypeError::New(info.Env(), "it has started or is closed");
    Failure failure;
    if (startIsolated(isolated, failure)) return;
    isolated.pid = -1;
    closeAll();
    throw systemError(info.Env(), failure);
  }

  void onExit(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsFunction()) throw Napi::TypeError::New(env, "onExit(callback)");
    if (isolated.pidfd < 0 || watcher != nullptr) throw Napi::TypeError::New(env, "it is closed or already watched");
    int error = 0;
    watcher = Watcher::create(env, isolated.pidfd, [this] { closeAll(); }, error);
    if (watcher == nullptr) throw systemError(env, {error < 0 ? -error : ENOMEM, "poll", "child"});
    error = watcher->watch(UV_POLL_READABLE, info.This(), info[0]);
    if (error < 0) throw systemError(env, {-error, "poll", "child"});
  }

  // takeExit(): [code, signal] with one of them -1, or undefined while it runs
  Napi::Value takeExit(const Napi::CallbackInfo& info) {
    int status = 0;
    if (!reapIsolated(isolated, status)) return info.Env().Undefined();
    closeAll();
    Napi::Array result = Napi::Array::New(info.Env(), 2);
    result.Set(0u, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    result.Set(1u, WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    return result;
  }

  void kill(const Napi::CallbackInfo& info) {
    int signal = -1;
    if (!getInteger(info[0], signal)) throw Napi::TypeError::New(info.Env(), "kill(signal: number)");
    Failure failure;
    if (isolated.pidfd < 0) failure = {ESRCH, "pidfd_send_signal", "child"};
    else if (signalIsolated(isolated, signal, failure)) return;
    throw systemError(info.Env(), failure);
  }

  void close(const Napi::CallbackInfo&) { closeAll(); }

  void closeAll() {
    if (watcher != nullptr) watcher->close();  // before the descriptor, libuv's rule
    watcher = nullptr;
    closeIsolated(isolated);
  }

  Isolated isolated;
  Watcher* watcher = nullptr;
};

#else

class IsolatedObject final : public Napi::ObjectWrap<IsolatedObject> {
 public:
  static Napi::Function define(Napi::Env env) { return DefineClass(env, "Isolated", {}); }
  explicit IsolatedObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IsolatedObject>(info) {
    throw systemError(info.Env(), {ENOSYS, "unshare", "unsupported-platform"});
  }
};

#endif

}  // namespace tun
