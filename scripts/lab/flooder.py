"""Packets as nobody sane sends them, straight into a TUN: flooder.py DEVICE KIND COUNT RATE [DESTINATION]

AF_PACKET on a TUN hands a frame to whoever reads it, without a look at its contents: packet(7). KIND:
  noise      random bytes, and packets of every protocol with some bits flipped
  fragments  first fragments of datagrams whose rest never comes, IPv4 and IPv6
  sources    a datagram each from COUNT addresses and ports where no socket is
  syn        SYNs of 10,000 connections, repeated as often as COUNT asks for
RATE is packets a second, kept on average. DESTINATION is IPv4, default 203.0.113.10.
"""
import random
import socket
import struct
import sys
import time

device, kind, count, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
to4 = socket.inet_aton(sys.argv[5] if len(sys.argv) > 5 else "203.0.113.10")
to6 = socket.inet_pton(socket.AF_INET6, "2001:db8:1::10")
chance = random.Random(6)
TCP, UDP, ICMP, ICMP6, FRAGMENT = 6, 17, 1, 58, 44
CONNECTIONS = 10_000


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def summed(source, to, protocol, segment, at):
    pseudo = source + to + struct.pack("!II", len(segment), protocol)
    sum_ = checksum((b"" if protocol == ICMP else pseudo) + segment)
    return segment[:at] + struct.pack("!H", sum_ or 0xFFFF) + segment[at + 2 :]


def ip4(source, protocol, body, id=0, flags=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), id, flags, 64, protocol, 0, source, to4)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(source, protocol, body):
    return struct.pack("!IHBB16s16s", 0x60000000, len(body), protocol, 64, source, to6) + body


def source4(n):
    return struct.pack("!BBH", 10, 77 + (n >> 16) % 100, n & 0xFFFF)


def source6(n):
    return b"\xfd\x77" + struct.pack("!H10xH", n >> 16 & 0xFFFF, n & 0xFFFF)


def udp(source, to, port, to_port, payload):
    return summed(source, to, UDP, struct.pack("!HHHH", port, to_port, 8 + len(payload), 0) + payload, 6)


def tcp(source, to, port, to_port, seq, ack, flags, options=b""):
    head = struct.pack("!HHIIBBHHH", port, to_port, seq, ack, (20 + len(options)) << 2, flags, 65535, 0, 0) + options
    return summed(source, to, TCP, head, 16)


def whole():
    """A packet that is right, of any kind."""
    n = chance.randrange(200)
    v6 = chance.random() < 0.4
    source, to, make = (source6(n), to6, ip6) if v6 else (source4(n), to4, ip4)
    what = chance.randrange(6)
    if what == 0:
        return make(source, UDP, udp(source, to, 5000 + n, chance.choice([7109, 53, 443]), chance.randbytes(chance.randrange(100))))
    if what == 1:
        flags = chance.choice([2, 16, 24, 17, 4, 20, 18, 0, 63])
        return make(source, TCP, tcp(source, to, 5000 + n, 7009, chance.getrandbits(32), chance.getrandbits(32), flags))
    if what == 2:
        echo = struct.pack("!BBHI", 128 if v6 else 8, 0, 0, n) + chance.randbytes(56)
        return make(source, ICMP6 if v6 else ICMP, summed(source, to, ICMP6 if v6 else ICMP, echo, 2))
    if what == 3:
        return make(source, chance.randrange(256), chance.randbytes(chance.randrange(200)))
    if what == 4 and v6:
        extension = bytes([chance.choice([6, 17, 0, 43, 59]), chance.randrange(4)]) + chance.randbytes(60)
        return make(source, chance.choice([0, 43, 60]), extension)
    return make(source, UDP, udp(source, to, 5000 + n, 7109, chance.randbytes(1200)))


def flipped(packet):
    packet = bytearray(packet)
    for _ in range(chance.randrange(1, 9)):
        packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)
    return bytes(packet[: chance.randrange(1, len(packet))] if chance.random() < 0.1 else packet)


def partial(n):
    body = chance.randbytes(8 * chance.randrange(1, 160))
    if n % 2:
        return ip6(source6(n // 500), FRAGMENT, struct.pack("!BBHI", UDP, 0, 1, n) + body)
    return ip4(source4(n // 500), UDP, body, n // 2 & 0xFFFF, 0x2000)


def lonely(n):
    if n % 4 == 3:
        source = source6(n)
        return ip6(source, UDP, udp(source, to6, 1024 + n % 60_000, 7109, b"lonely"))
    source = source4(n)
    return ip4(source, UDP, udp(source, to4, 1024 + n % 60_000, 7109, b"lonely"))


def syn(n):
    source = source4(n)
    return ip4(source, TCP, tcp(source, to4, 1024 + n % 60_000, 7005, n * 7919, 0, 2, b"\x02\x04\x05\xb4"))


def packets():
    if kind == "noise":
        good = [whole() for _ in range(5000)]
        for _ in range(count):
            yield chance.randbytes(chance.randrange(1, 200)) if chance.random() < 0.2 else flipped(chance.choice(good))
    elif kind == "syn":
        all_ = [syn(n) for n in range(min(CONNECTIONS, count))]
        for n in range(count):
            yield all_[n % len(all_)]
    else:
        make = {"fragments": partial, "sources": lonely}[kind]
        for n in range(count):
            yield make(n)


nic = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
nic.bind((device, 0x0800))
n = 0
start = time.monotonic()
for packet in packets():
    try:
        nic.send(packet)
    except OSError:
        pass  # its queue is full
    n += 1
    if n % 64 == 0:
        time.sleep(max(0, start + n / rate - time.monotonic()))
