// Owns: loading wintun.dll. LoadLibraryEx with explicit places: the default search would take a library from the current directory.

#include "wintun.h"

#include <string>

#include "uv_poll.h"

namespace tun {

bool failWith(Failure& failure, DWORD error, const char* syscall, const char* detail) {
  failure = {-uv_translate_sys_error(static_cast<int>(error)), syscall, detail, error};
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
  const std::wstring beside = ownDirectory();
  if (!beside.empty()) library = LoadLibraryExW((beside + L"wintun.dll").c_str(), nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
  DWORD error = library == nullptr ? GetLastError() : 0;
  // Not there is the ordinary case; of another architecture is worth telling.
  if (library == nullptr && (beside.empty() || error == ERROR_MOD_NOT_FOUND)) {
    library = LoadLibraryExW(L"wintun.dll", nullptr, LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    error = library == nullptr ? GetLastError() : 0;
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
  return all || failWith(failure, ERROR_PROC_NOT_FOUND, "GetProcAddress", "wintun-version");
}

Wintun::~Wintun() {
  if (library != nullptr) FreeLibrary(library);
}

}  // namespace tun
