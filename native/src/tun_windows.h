// Owns: one Wintun adapter as a device. open_windows.cc makes the adapter and its ring, tun_windows.cc moves packets.
// Compiled and linked, and its data path tested on Linux over a ring of its own; never run on Windows.

#pragma once

#include "packet_ring.h"
#include "row_device.h"

namespace tun {

class WindowsTun final : public RowDevice {
 public:
  explicit WindowsTun(std::unique_ptr<PacketRing> ring) : packets(std::move(ring)) {}

  size_t read(uint8_t* slab, size_t slabLength, size_t used, Batch& batch, size_t count) override;
  void close() override { packets.reset(); }

  bool isOpen() const override { return packets != nullptr; }
  int descriptor() const override { return -1; }
  PacketRing* ring() override { return packets.get(); }
  int mtu() override { return packets ? lastMtu = packets->mtu() : lastMtu; }
  bool isUp() override { return packets && packets->isUp(); }

 private:
  int send(Outgoing& packet) override;
  int32_t writeStatus(int error) const override;
  int errnoOf(int error) const override;

  std::unique_ptr<PacketRing> packets;
  int lastMtu = 0;
};

}  // namespace tun
