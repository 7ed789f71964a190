"""The kernel's end of bench/discard.mjs: STREAMS connections that send static bytes (`up`) or take and drop them (`down`).

client.py up|down ADDRESS PORT STREAMS SECONDS; prints the bytes carried. `down` ends when the other side does.
"""
import socket
import sys
import threading
import time

CHUNK = 1 << 20
direction, address, port, streams, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
carried = [0] * streams


def run(index):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        # Some distributions default to BBR, whose pacing timers cost the client's core about a third.
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        s.connect((address, port))
        until = time.monotonic() + seconds
        if direction == "up":
            chunk = bytes(CHUNK)
            while time.monotonic() < until:
                s.sendall(chunk)
                carried[index] += CHUNK
            s.shutdown(socket.SHUT_WR)
            s.recv(1)  # the other side's end: everything was taken
        else:
            chunk = bytearray(CHUNK)
            while True:
                n = s.recv_into(chunk, CHUNK, socket.MSG_TRUNC)  # tcp(7): discarded in the kernel, not copied
                if n == 0:
                    return
                carried[index] += n


threads = [threading.Thread(target=run, args=(i,)) for i in range(streams)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(carried))
