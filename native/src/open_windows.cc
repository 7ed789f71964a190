// Owns: making, configuring and closing a Wintun adapter, and its ring. An adapter we made goes when it is closed. Administrators only.
// Read first: https://git.zx2c4.com/wintun/about; WintunCreateAdapter in api/adapter.c and api/session.c there; netioapi.h:
// SetIpInterfaceEntry, CreateUnicastIpAddressEntry.

#include <cstring>

#include "tun_windows.h"
#include "wintun.h"

namespace tun {

namespace {

constexpr int DEFAULT_MTU = 1500;
/** Of each ring: a power of two from 128 KiB to 64 MiB. 8 MiB are what WireGuard takes: 10 ms of a fast link. */
constexpr DWORD RING_BYTES = 0x800000;
/** TCP/IP binds to a new adapter some time after it is there; for the family that nobody has asked for we wait less. */
constexpr int BIND_TRIES = 40, BIND_TRIES_UNASKED = 5, BIND_PAUSE = 50;  // ms

std::string narrow(const wchar_t* text) {
  const int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);  // with the NUL
  if (length <= 1) return "";
  std::string result(static_cast<size_t>(length), 0);
  WideCharToMultiByte(CP_UTF8, 0, text, -1, result.data(), length, nullptr, nullptr);
  result.pop_back();
  return result;
}

std::wstring wide(const std::string& text) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0);
  std::wstring result(static_cast<size_t>(length), 0);
  MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), result.data(), length);
  return result;
}

GUID guidOf(const std::vector<uint8_t>& bytes) {
  GUID guid{};
  guid.Data1 = static_cast<unsigned long>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
  guid.Data2 = static_cast<unsigned short>(bytes[4] << 8 | bytes[5]);
  guid.Data3 = static_cast<unsigned short>(bytes[6] << 8 | bytes[7]);
  std::memcpy(guid.Data4, bytes.data() + 8, 8);
  return guid;
}

/**
 * A connection has this name, and not one that we made: WintunCreateAdapter would rename it ("Ethernet" to "Ethernet 1"), whoever's it is.
 * What a killed process of ours left has our GUID, and is made anew.
 */
bool takenByAnother(const std::wstring& name, const GUID* ours) {
  NET_LUID luid;
  GUID theirs;
  if (ConvertInterfaceAliasToLuid(name.c_str(), &luid) != NO_ERROR) return false;
  return ours == nullptr || ConvertInterfaceLuidToGuid(&luid, &theirs) != NO_ERROR || std::memcmp(&theirs, ours, sizeof theirs) != 0;
}

class WintunRing final : public PacketRing {
 public:
  WintunRing() = default;
  ~WintunRing() override {
    disarm();
    if (session != nullptr) api.endSession(session);
    if (adapter != nullptr) api.closeAdapter(adapter);
  }

  bool open(const OpenRequest& request, bool& created, Failure& failure);
  bool configure(const OpenRequest& request, bool created, bool& mtuDenied, Failure& failure);
  /** The connection's, in UTF-8; empty if it cannot be told. */
  std::string name() const {
    wchar_t alias[IF_MAX_STRING_SIZE + 1] = {};
    return ConvertInterfaceLuidToAlias(&luid, alias, IF_MAX_STRING_SIZE + 1) == NO_ERROR ? narrow(alias) : "";
  }

  const uint8_t* receive(uint32_t& length, uint32_t& error) override {
    DWORD size = 0;
    const BYTE* packet = api.receivePacket(session, &size);
    if (packet == nullptr) error = GetLastError();
    length = size;
    return packet;
  }
  void release(const uint8_t* packet) override { api.releaseReceivePacket(session, packet); }

  uint8_t* allocate(uint32_t length, uint32_t& error) override {
    BYTE* packet = api.allocateSendPacket(session, length);
    if (packet == nullptr) error = GetLastError();
    return packet;
  }
  void send(uint8_t* packet) override { api.sendPacket(session, packet); }

  bool arm(void (*fire)(void*), void* data) override {
    disarm();
    fireWith = fire;
    fireData = data;
    // The event is one that a wait resets, and receive() does not. A packet since the last wait has set it: then this fires at once.
    const ULONG flags = WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD;
    if (RegisterWaitForSingleObject(&wait, readable, signalled, this, INFINITE, flags)) return true;
    wait = nullptr;
    return false;
  }
  void disarm() override {
    if (wait != nullptr) UnregisterWaitEx(wait, INVALID_HANDLE_VALUE);  // returns when `signalled` has returned
    wait = nullptr;
  }

  int mtu() override {
    for (const ADDRESS_FAMILY family : {AF_INET, AF_INET6}) {
      MIB_IPINTERFACE_ROW row;
      if (interfaceRow(family, row) == NO_ERROR) return static_cast<int>(row.NlMtu);
    }
    return configuredMtu;
  }

  bool isUp() override {
    MIB_IF_ROW2 row{};
    row.InterfaceLuid = luid;
    return GetIfEntry2(&row) == NO_ERROR && row.OperStatus == IfOperStatusUp;
  }

 private:
  static void CALLBACK signalled(void* self, BOOLEAN) {
    auto* ring = static_cast<WintunRing*>(self);
    ring->fireWith(ring->fireData);
  }

  DWORD interfaceRow(ADDRESS_FAMILY family, MIB_IPINTERFACE_ROW& row) {
    InitializeIpInterfaceEntry(&row);
    row.Family = family;
    row.InterfaceLuid = luid;
    return GetIpInterfaceEntry(&row);
  }

  void awaitFamily(ADDRESS_FAMILY family, int tries) {
    MIB_IPINTERFACE_ROW row;
    for (int i = 0; i < tries && interfaceRow(family, row) == ERROR_NOT_FOUND; i++) Sleep(BIND_PAUSE);
  }

  bool setMtu(int mtu, bool created, bool& denied, Failure& failure);
  bool addAddress(const NicAddress& address, Failure& failure);

  Wintun api;
  WintunAdapter* adapter = nullptr;
  WintunSession* session = nullptr;
  NET_LUID luid{};
  HANDLE readable = nullptr;
  HANDLE wait = nullptr;
  void (*fireWith)(void*) = nullptr;
  void* fireData = nullptr;
  int configuredMtu = DEFAULT_MTU;
};

bool WintunRing::open(const OpenRequest& request, bool& created, Failure& failure) {
  if (!api.load(failure)) return false;
  const std::wstring name = wide(request.name);
  GUID guid{};
  const bool known = request.guid.size() == 16;
  if (known) guid = guidOf(request.guid);
  const bool taken = takenByAnother(name, known ? &guid : nullptr);
  // Without a GUID of its own the adapter would be a new network to Windows, with a new profile, at each start.
  if (!taken) adapter = api.createAdapter(name.c_str(), L"tun", known ? &guid : nullptr);
  created = adapter != nullptr;
  if (adapter == nullptr) {
    const DWORD error = taken ? ERROR_ALREADY_EXISTS : win32Of(GetLastError());
    if (error != ERROR_ALREADY_EXISTS && error != ERROR_OBJECT_ALREADY_EXISTS) return failWith(failure, error, "WintunCreateAdapter");
    adapter = api.openAdapter(name.c_str());
    if (adapter == nullptr) {
      const DWORD unopened = win32Of(GetLastError());
      return failWith(failure, unopened, "WintunOpenAdapter", taken && unopened == ERROR_NOT_FOUND ? "not-wintun" : "");
    }
  }
  api.getAdapterLuid(adapter, &luid);
  session = api.startSession(adapter, RING_BYTES);
  if (session == nullptr) return failWith(failure, GetLastError(), "WintunStartSession");
  readable = api.getReadWaitEvent(session);
  return true;
}

bool WintunRing::configure(const OpenRequest& request, bool created, bool& mtuDenied, Failure& failure) {
  if (request.mtu > 0) configuredMtu = request.mtu;
  bool v6 = false;
  for (const NicAddress& address : request.addresses) v6 = v6 || address.v6;
  if (request.mtu > 0 || !request.addresses.empty()) {
    awaitFamily(AF_INET, BIND_TRIES);
    awaitFamily(AF_INET6, v6 ? BIND_TRIES : BIND_TRIES_UNASKED);
  }
  if (request.mtu > 0 && !setMtu(request.mtu, created, mtuDenied, failure)) return false;
  for (const NicAddress& address : request.addresses) {
    if (!addAddress(address, failure)) return false;
  }
  // A session is what brings the adapter up; that takes a moment, and somebody may ask at once.
  for (int i = 0; i < BIND_TRIES_UNASKED && !isUp(); i++) Sleep(BIND_PAUSE);
  return true;
}

bool WintunRing::setMtu(int mtu, bool created, bool& denied, Failure& failure) {
  for (const ADDRESS_FAMILY family : {AF_INET, AF_INET6}) {
    MIB_IPINTERFACE_ROW row;
    if (interfaceRow(family, row) != NO_ERROR) continue;  // a family that is switched off, or not bound
    if (row.NlMtu == static_cast<ULONG>(mtu) || (family == AF_INET6 && mtu < 1280)) continue;
    row.NlMtu = static_cast<ULONG>(mtu);
    if (family == AF_INET) row.SitePrefixLength = 0;  // what Get gave is not what Set takes
    const DWORD error = SetIpInterfaceEntry(&row);
    if (error == NO_ERROR) continue;
    if (created || error != ERROR_ACCESS_DENIED) return failWith(failure, error, "SetIpInterfaceEntry");
    denied = true;
  }
  return true;
}

bool WintunRing::addAddress(const NicAddress& address, Failure& failure) {
  MIB_UNICASTIPADDRESS_ROW row;
  InitializeUnicastIpAddressEntry(&row);
  row.InterfaceLuid = luid;
  row.OnLinkPrefixLength = static_cast<UINT8>(address.prefix);
  row.DadState = IpDadStatePreferred;  // nobody else is on this link, and it is usable at once
  if (address.v6) {
    row.Address.Ipv6.sin6_family = AF_INET6;
    std::memcpy(&row.Address.Ipv6.sin6_addr, address.bytes, 16);
  } else {
    row.Address.Ipv4.sin_family = AF_INET;
    std::memcpy(&row.Address.Ipv4.sin_addr, address.bytes, 4);
  }
  const DWORD error = CreateUnicastIpAddressEntry(&row);
  if (error == NO_ERROR) return true;
  // Said of an address that is ours already, and of one that another adapter has, even of one that is not connected.
  if (error == ERROR_OBJECT_ALREADY_EXISTS && GetUnicastIpAddressEntry(&row) == NO_ERROR) return true;
  return failWith(failure, error, "CreateUnicastIpAddressEntry");
}

}  // namespace

std::unique_ptr<Tun> Tun::open(const OpenRequest& request, Failure& failure) {
  if (request.name.empty()) {
    failWith(failure, ERROR_NOT_SUPPORTED, "open", "no-descriptors");
    return nullptr;
  }
  auto ring = std::make_unique<WintunRing>();
  bool created = false, mtuDenied = false;
  if (!ring->open(request, created, failure) || !ring->configure(request, created, mtuDenied, failure)) return nullptr;
  const std::string name = ring->name();
  auto tun = std::make_unique<WindowsTun>(std::move(ring));
  tun->name = name.empty() ? request.name : name;
  tun->created = created;
  tun->mtuDenied = mtuDenied;
  return tun;
}

}  // namespace tun
