// Owns: one TUN or AF_UNIX packet socket of Linux. open_linux.cc opens and closes, tun_linux.cc moves packets.
// Documentation/networking/tuntap.rst; tun(4) is drivers/net/tun.c; unix(7).

#pragma once

#include <net/if.h>

#include "row_device.h"

namespace tun {

class LinuxTun final : public RowDevice {
 public:
  LinuxTun() = default;
  ~LinuxTun() override { close(); }
  LinuxTun(const LinuxTun&) = delete;
  LinuxTun& operator=(const LinuxTun&) = delete;

  bool openName(const OpenRequest& request, Failure& failure);
  bool openDescriptor(const OpenRequest& request, Failure& failure);

  size_t read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) override;
  void close() override;

  bool isOpen() const override { return fd >= 0; }
  int descriptor() const override { return fd; }
  int mtu() override;
  bool isUp() override;

 private:
  bool describeDescriptor(Failure& failure);
  bool describeSocket(Failure& failure);
  bool attach(const std::string& wanted, short flags, int& error);
  void negotiateOffload(bool wanted);
  bool configure(const OpenRequest& request, Failure& failure);
  void openControl(bool inherited);
  bool ask(unsigned long what, ifreq& request);

  ssize_t receive(uint8_t* at, size_t room, bool& truncated);
  int32_t readStatus(int error);

  int send(Outgoing& packet) override;
  int32_t writeStatus(int error) const override;
  void frame(Outgoing& packet) const override;

  int fd = -1;
  /** A socket in the NIC's namespace for SIOCGIFMTU and the like; -1 if there is none to be had. */
  int control = -1;
  bool closesDescriptor = true;
  bool restoresBlocking = false;
  bool inheritedVnet = false;
  int configuredMtu = 0;
  int endError = 0;
  int32_t endStatus = OK;
};

}  // namespace tun
