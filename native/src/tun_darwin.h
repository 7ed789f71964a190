// Owns: one utun or AF_UNIX datagram socket of macOS. open_darwin.cc opens, configures and closes, tun_darwin.cc moves packets.
// Compiled and linked, and its data path tested on Linux over a socket pair; a utun of macOS was never run.

#pragma once

#include "open_posix.h"
#include "utun.h"

namespace tun {

class DarwinTun final : public DescriptorDevice {
 public:
  DarwinTun() = default;
  ~DarwinTun() override { close(); }
  DarwinTun(const DarwinTun&) = delete;
  DarwinTun& operator=(const DarwinTun&) = delete;

  /** "utun": the next free number. */
  bool openNext(const OpenRequest& request, Failure& failure);
  bool openDescriptor(const OpenRequest& request, Failure& failure);

  size_t read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) override;
  void close() override { closeDescriptors(); }

  int mtu() override;
  bool isUp() override;

 private:
  bool openSocket(Failure& failure);
  bool prepare(const OpenRequest& request, Failure& failure);
  bool configure(const OpenRequest& request, Failure& failure);
  bool addAddress(const NicAddress& address, Failure& failure);

  int32_t readStatus(int error) const;
  bool otherEndHasGone() const;

  int send(Outgoing& packet) override;
  int32_t writeStatus(int error) const override;
  void frame(Outgoing& packet) const override;

  /** Bytes before each packet: a utun's family, nothing on a socket. */
  size_t headerLength() const { return socket ? 0 : UTUN_HEADER; }
};

}  // namespace tun
