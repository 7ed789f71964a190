// Owns: the functions of wintun.dll that are called here, declared from its documentation (https://git.zx2c4.com/wintun/about), and finding
// the library. It is never downloaded and not shipped: whoever installs the program puts it there, signed as it is.

#pragma once

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
// after the others
#include <iphlpapi.h>
#include <netioapi.h>

#include "tun.h"

namespace tun {

struct WintunAdapter;
struct WintunSession;

struct Wintun {
  WintunAdapter*(WINAPI* createAdapter)(const wchar_t* name, const wchar_t* type, const GUID* guid) = nullptr;
  WintunAdapter*(WINAPI* openAdapter)(const wchar_t* name) = nullptr;
  void(WINAPI* closeAdapter)(WintunAdapter* adapter) = nullptr;
  void(WINAPI* getAdapterLuid)(WintunAdapter* adapter, NET_LUID* luid) = nullptr;
  WintunSession*(WINAPI* startSession)(WintunAdapter* adapter, DWORD capacity) = nullptr;
  void(WINAPI* endSession)(WintunSession* session) = nullptr;
  HANDLE(WINAPI* getReadWaitEvent)(WintunSession* session) = nullptr;
  BYTE*(WINAPI* receivePacket)(WintunSession* session, DWORD* length) = nullptr;
  void(WINAPI* releaseReceivePacket)(WintunSession* session, const BYTE* packet) = nullptr;
  BYTE*(WINAPI* allocateSendPacket)(WintunSession* session, DWORD length) = nullptr;
  void(WINAPI* sendPacket)(WintunSession* session, const BYTE* packet) = nullptr;

  /** From beside the addon, beside the program, or System32; nowhere else. It is loaded until the process ends. */
  bool load(Failure& failure);
};

/** A failure with the number Windows gave, or with a HRESULT. */
bool failWith(Failure& failure, DWORD error, const char* syscall, const char* detail = "");

}  // namespace tun
