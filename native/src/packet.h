// Owns: a socket that gets a copy of every packet of a NIC, whoever serves it. packet(7).

#pragma once

#include <string>

#include "tun.h"

namespace tun {

/** IP packets of both directions without link-layer header; -1 and `failure` otherwise. CAP_NET_RAW. */
int openPacketSocket(const std::string& nic, Failure& failure);

/** Packets that did not fit in the socket's queue since the last call. */
bool packetDrops(int socket, unsigned& drops, Failure& failure);

}  // namespace tun
