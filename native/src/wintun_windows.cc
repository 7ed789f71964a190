// Owns: loading wintun.dll. LoadLibraryEx with explicit places: the default search would take a library from the current directory.

#include "wintun.h"

#include <string>

#include "packet_ring.h"
#include "uv_poll.h"

namespace tun {

bool failWith(Failure& failure, DWORD error, const char* syscall, const char* detail) {
  const DWORD number = win32Of(error);
  const int known = static_cast<int>(number) < 0 ? static_cast<int>(ERROR_GEN_FAILURE) : static_cast<int>(number);
  failure = {-uv_translate_sys_error(known), syscall, detail, number};
  return false;
}

namespace {

/** The directory of this addon, with the backslash at its end; empty if it cannot be told. */
std::wstring ownDirectory() {
  HMODULE self = nullptr;
  const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  if (!GetModuleHandleExW(flags, reinterpret_cast<const wchar_t*>(&failWith), &self)) return L"";
  std::wstring path(32768, 0);  // the longest there is
  const DWORD length = GetModuleFileNameW(self, path.data(), static_cast<DWORD>(path.size()));
  if (length == 0 || length >= path.size()) return L"";
  path.resize(length);
  return path.substr(0, path.find_last_of(L'\\') + 1);
}

template <typename Function>
bool find(HMODULE library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(reinterpret_cast<void*>(GetProcAddress(library, name)));
  return function != nullptr;
}

}  // namespace

bool Wintun::load(Failure& failure) {
  const std::wstring directory = ownDirectory(), beside = directory + L"wintun.dll";
  HMODULE library = nullptr;
  DWORD error = ERROR_MOD_NOT_FOUND;
  if (!directory.empty()) {
    // What it needs itself comes from beside it or from System32, never from the current directory or PATH.
    library = LoadLibraryExW(beside.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    error = library == nullptr ? GetLastError() : NO_ERROR;
  }
  // Not there is the ordinary case; of another architecture is worth telling.
  if (library == nullptr && error == ERROR_MOD_NOT_FOUND) {
    library = LoadLibraryExW(L"wintun.dll", nullptr, LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    error = library == nullptr ? GetLastError() : NO_ERROR;
  }
  if (library == nullptr) {
    const char* detail = error == ERROR_MOD_NOT_FOUND ? "wintun-missing" : error == ERROR_BAD_EXE_FORMAT ? "wintun-architecture" : "";
    return failWith(failure, error, "LoadLibraryEx", detail);
  }
  const bool all = find(library, "WintunCreateAdapter", createAdapter) && find(library, "WintunOpenAdapter", openAdapter) &&
                   find(library, "WintunCloseAdapter", closeAdapter) && find(library, "WintunGetAdapterLUID", getAdapterLuid) &&
                   find(library, "WintunStartSession", startSession) && find(library, "WintunEndSession", endSession) &&
                   find(library, "WintunGetReadWaitEvent", getReadWaitEvent) && find(library, "WintunReceivePacket", receivePacket) &&
                   find(library, "WintunReleaseReceivePacket", releaseReceivePacket) &&
                   find(library, "WintunAllocateSendPacket", allocateSendPacket) && find(library, "WintunSendPacket", sendPacket);
  // Once used it must not be freed: making, opening and closing an adapter each leave work to a thread of the system's (orphaned devices
  // are removed), which is still in the library when the call has returned.
  if (all) return true;
  FreeLibrary(library);
  return failWith(failure, ERROR_PROC_NOT_FOUND, "GetProcAddress", "wintun-version");
}

}  // namespace tun
