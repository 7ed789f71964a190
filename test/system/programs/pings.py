"""An application with raw and ping sockets: python3 pings.py OP TARGET [FROM] [BYTES]   One line of JSON is the answer.

echo   one ping of BYTES; what came back, or the errno a connected ping socket gets
probe  what a datagram with hop limit 1, then 2, is told: as traceroute would show it
raw    one packet of protocol BYTES; the errno or silence
"""

import json
import os
import select
import socket
import struct
import sys

IP_RECVERR, IPV6_RECVERR = 11, 25
operation, target = sys.argv[1:3]
source = sys.argv[3] if len(sys.argv) > 3 else ''
number = int(sys.argv[4]) if len(sys.argv) > 4 else 56
v6 = ':' in target
family = socket.AF_INET6 if v6 else socket.AF_INET
PATIENCE = 3  # seconds


def name(error):
    return errno_names.get(error, str(error))


errno_names = {getattr(__import__('errno'), n): n for n in dir(__import__('errno')) if n.startswith('E')}


def open_socket(kind, protocol):
    s = socket.socket(family, kind, protocol)
    if source:
        s.bind((source, 0))
    s.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_RECVERR if v6 else IP_RECVERR, 1)
    s.settimeout(PATIENCE)
    return s


def offender(s):
    """Who reported an error, and how: from the socket's error queue."""
    poll = select.poll()
    poll.register(s, 0)
    if not poll.poll(PATIENCE * 1000):
        return {'code': 'ETIMEDOUT'}
    _, ancillary, _, _ = s.recvmsg(2048, 512, 0x2000)  # MSG_ERRQUEUE
    data = ancillary[0][2]
    error, _, kind, code = struct.unpack_from('=IBBB', data)
    at = data[16:]
    address = socket.inet_ntop(family, at[8:24] if v6 else at[4:8])
    return {'code': name(error), 'type': kind, 'icmp': code, 'by': address}


def echo():
    s = open_socket(socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    s.connect((target, 0))
    payload = bytes(i * 7 & 255 for i in range(number))
    s.send(struct.pack('!BBHHH', 128 if v6 else 8, 0, 0, 0, 7) + payload)
    try:
        answer = s.recv(65536)
        kind, _, _, _, sequence = struct.unpack_from('!BBHHH', answer)
        return {'type': kind, 'sequence': sequence, 'same': answer[8:] == payload}
    except TimeoutError:
        return {'code': 'ETIMEDOUT'}
    except OSError as error:
        return {'code': name(error.errno)}


def probe():
    hops = []
    for ttl in (1, 2):
        s = open_socket(socket.SOCK_DGRAM, 0)
        level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if v6 else (socket.IPPROTO_IP, socket.IP_TTL)
        s.setsockopt(level, option, ttl)
        s.sendto(b'probe', (target, 33434))
        hops.append(offender(s))
    return hops


def raw():
    s = socket.socket(family, socket.SOCK_RAW, number)
    s.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_RECVERR if v6 else IP_RECVERR, 1)
    if source:
        s.bind((source, 0))
    s.connect((target, 0))
    s.send(b'12345678')
    return offender(s)


print(json.dumps({'echo': echo, 'probe': probe, 'raw': raw}[operation]()))
