"""A TUN as others make it: offload-nic.py open TUN HEADER COMMAND...   becomes COMMAND, whose descriptor 9 it is, with a virtio-net header
of HEADER bytes (TUNSETVNETHDRSZ; 0: none). offload-nic.py features TUN NAME=0|1...   what its kernel side may do, as ethtool -K: txcsum,
sg, tso, gso.
"""

import array
import fcntl
import os
import socket
import struct
import sys

TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
SIOCETHTOOL = 0x8946
FEATURES = {"txcsum": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24}  # ETHTOOL_S…

verb, name, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
if verb == "features":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for word in rest:
            feature, on = word.split("=")
            value = array.array("B", struct.pack("II", FEATURES[feature], int(on)))
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), value.buffer_info()[0]))
else:
    header, command = int(rest[0]), rest[1:]
    nic = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(nic, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | (IFF_VNET_HDR if header else 0)))
    if header:
        fcntl.ioctl(nic, TUNSETVNETHDRSZ, struct.pack("i", header))
    os.dup2(nic, 9)
    os.close(nic)
    os.execvp(command[0], command)
