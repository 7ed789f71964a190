# A program that speaks UDP and DNS by itself: datagrams.py NAME PORT ADDRESS…   Prints what it learns, a line each.

import ipaddress
import socket
import struct
import sys


def query(name, kind):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('>6H', 0x1234, 0x0100, 1, 0, 0, 0) + labels + struct.pack('>BHH', 0, kind, 1)


def address_of(answer, length):
    return str(ipaddress.ip_address(answer[-length:]))


def ask(where, port, text):
    family = socket.getaddrinfo(where, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family[0], socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(text, family[4])
        data, source = client.recvfrom(2048)
        return data.decode(), source[:2] == family[4][:2]


name, port, *addresses = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    for kind, length in ((1, 4), (28, 16)):
        client.sendto(query(name, kind), ('192.0.2.53', 53))  # nobody is there: the TUN answers
        print('udp', kind, address_of(client.recv(512), length))
with socket.create_connection(('192.0.2.53', 53), timeout=5) as client:
    wire = query(name, 1)
    client.sendall(struct.pack('>H', len(wire)) + wire)
    print('tcp', 1, address_of(client.recv(514), 4))
for where in (*addresses, name):
    print(where, *ask(where, int(port), b'hello'))
