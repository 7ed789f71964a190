"""Opens a TUN and becomes COMMAND, whose descriptor 9 it is: pass-fd.py TUN COMMAND..."""

import fcntl
import os
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001

name, command = sys.argv[1], sys.argv[2:]
nic = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(nic, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
subprocess.check_call(["ip", "link", "set", name, "up"])
os.dup2(nic, 9)
os.close(nic)
os.execvp(command[0], command)
