// Owns: making, configuring and closing a Wintun adapter, and its ring. An adapter we made goes when it is closed. Administrators only.
// Read first: https://git.zx2c4.com/wintun/about; netioapi.h: SetIpInterfaceEntry, CreateUnicastIpAddressEntry.

#include <cstring>

#include "tun_windows.h"
#include "wintun.h"

namespace tun {

namespace {

constexpr int DEFAULT_MTU = 1500;
/** Of each ring: a power of two from 128 KiB to 64 MiB. 8 MiB are what WireGuard takes: 10 ms of a fast link. */
constexpr DWORD RING_BYTES = 0x800000;
/** TCP/IP binds to a new adapter some time after it is there. */
constexpr int BIND_TRIES = 40, BIND_PAUSE = 50;  // ms

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
    // The event is one that a wait resets. A packet since the last receive() has set it: then this fires at once.
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
  // An adapter without a GUID of its own would be a new network to Windows, with a new profile, at each start.
  adapter = api.createAdapter(name.c_str(), L"tun", known ? &guid : nullptr);
  created = adapter != nullptr;
  if (adapter == nullptr) {
    const DWORD error = GetLastError();
    if (error != ERROR_ALREADY_EXISTS && error != ERROR_OBJECT_ALREADY_EXISTS) return failWith(failure, error, "WintunCreateAdapter");
    adapter = api.openAdapter(name.c_str());
    if (adapter == nullptr) return failWith(failure, GetLastError(), "WintunOpenAdapter");
  }
  api.getAdapterLuid(adapter, &luid);
  session = api.startSession(adapter, RING_BYTES);
  if (session == nullptr) return failWith(failure, GetLastError(), "WintunStartSession");
  readable = api.getReadWaitEvent(session);
  return true;
}

bool WintunRing::configure(const OpenRequest& request, bool created, bool& mtuDenied, Failure& failure) {
  if (request.mtu > 0) configuredMtu = request.mtu;
  const bool asked = request.mtu > 0 || !request.addresses.empty();
  MIB_IPINTERFACE_ROW row;
  for (int i = 0; asked && i < BIND_TRIES && interfaceRow(AF_INET, row) == ERROR_NOT_FOUND; i++) Sleep(BIND_PAUSE);
  if (request.mtu > 0 && !setMtu(request.mtu, created, mtuDenied, failure)) return false;
  for (const NicAddress& address : request.addresses) {
    if (!addAddress(address, failure)) return false;
  }
  return true;  // a session is what brings the adapter up
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
  if (error == NO_ERROR || error == ERROR_OBJECT_ALREADY_EXISTS) return true;
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
  auto tun = std::make_unique<WindowsTun>(std::move(ring));
  tun->name = request.name;
  tun->created = created;
  tun->mtuDenied = mtuDenied;
  return tun;
}

}  // namespace tun
