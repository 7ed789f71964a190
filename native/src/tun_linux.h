// Owns: one TUN or AF_UNIX packet socket of Linux. open_linux.cc opens and closes, tun_linux.cc moves packets.
// Documentation/networking/tuntap.rst; tun(4) is drivers/net/tun.c; unix(7).

#pragma once

#include "open_posix.h"

namespace tun {

class LinuxTun final : public DescriptorDevice {
 public:
  LinuxTun() = default;
  ~LinuxTun() override { close(); }
  LinuxTun(const LinuxTun&) = delete;
  LinuxTun& operator=(const LinuxTun&) = delete;

  bool openName(const OpenRequest& request, Failure& failure);
  bool openDescriptor(const OpenRequest& request, Failure& failure);

  size_t read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) override;
  void close() override;

  int mtu() override;
  bool isUp() override;

 private:
  bool describeDescriptor(Failure& failure);
  bool openSocket(Failure& failure);
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

  bool inheritedVnet = false;
};

}  // namespace tun
