// Owns: what a driver gives that has rings of packets and an event instead of a descriptor: Wintun. No word of Windows in here, so the data
// path over it is tested anywhere (native/test/wintun.test.ts). Errors are Win32 numbers. Read first: https://www.wintun.net, wintun.h.

#pragma once

#include <cstdint>

namespace tun {

constexpr uint32_t WIN_HANDLE_EOF = 38, WIN_INVALID_PARAMETER = 87, WIN_BUFFER_OVERFLOW = 111, WIN_NO_MORE_ITEMS = 259;

/** GetLastError() of Wintun is now and then a HRESULT, that of SwDeviceCreate; HRESULT_FROM_WIN32 undone. */
constexpr uint32_t win32Of(uint32_t error) { return (error & 0xffff0000) == 0x80070000 ? error & 0xffff : error; }
static_assert(win32Of(0x80070005) == 5 && win32Of(183) == 183 && win32Of(0x80004005) == 0x80004005, "only those of FACILITY_WIN32");

class PacketRing {
 public:
  virtual ~PacketRing() = default;

  /** The next packet, lent until release(); nullptr and `error`: WIN_NO_MORE_ITEMS, WIN_HANDLE_EOF (the adapter has gone), others. */
  virtual const uint8_t* receive(uint32_t& length, uint32_t& error) = 0;
  virtual void release(const uint8_t* packet) = 0;

  /** Room for a packet, which must be sent; nullptr and `error`: WIN_BUFFER_OVERFLOW (full), WIN_HANDLE_EOF, others. */
  virtual uint8_t* allocate(uint32_t length, uint32_t& error) = 0;
  virtual void send(uint8_t* packet) = 0;

  /** Calls fire(data) once, on any thread, when a packet has come that no wait has told of before. False: it cannot. */
  virtual bool arm(void (*fire)(void*), void* data) = 0;
  /** After this, fire is not called and not being called. What the wait was to tell may be lost: look for packets before the next. */
  virtual void disarm() = 0;

  virtual int mtu() = 0;
  virtual bool isUp() = 0;

  /** The last receive() found nothing: waiting makes sense. */
  bool drained = false;
};

}  // namespace tun
