"""Opens a TUN and gives it away: hand-over.py KIND TUN UID COMMAND...   Descriptor 9 of COMMAND is the NIC, or a socket that leads to it.

KIND is tun or tun-vnet: this process becomes COMMAND; or dgram or seqpacket: COMMAND runs as a child at the other end of a socket pair,
one bare IP packet a message, as a virtual machine would be attached. SIGUSR1 closes our end of it. See unix(7).
"""

import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000

kind, name, uid, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
# Somebody else without a right on the network, who may read the program's files wherever they lie.
caps = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", "--bounding-set=-net_admin"]
command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *caps, "--", *command]

nic = os.open("/dev/net/tun", os.O_RDWR)
flags = IFF_TUN | IFF_NO_PI | (IFF_VNET_HDR if kind == "tun-vnet" else 0)
fcntl.ioctl(nic, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))

if kind.startswith("tun"):
    os.dup2(nic, 9)
    os.execvp(command[0], command)

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_SEQPACKET)
os.dup2(theirs.fileno(), 9)
child = subprocess.Popen(command, pass_fds=[9])
os.close(9)
theirs.close()
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
signal.signal(signal.SIGUSR1, lambda *_: ours.close())

while child.poll() is None:
    ends = [nic] if ours.fileno() < 0 else [nic, ours]
    try:
        for end in select.select(ends, [], [], 0.1)[0]:
            if end is ours:
                os.write(nic, ours.recv(65536))
            elif ours.fileno() >= 0:
                ours.send(os.read(nic, 65536))
    except OSError:
        pass  # the NIC is not up yet, or an end has gone
print(f"the proxy ended with {child.returncode}", flush=True)
