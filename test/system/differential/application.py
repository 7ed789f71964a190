"""The application on the kernel's sockets: one line [id, key, verb] in, one line [id, answer] out. Never waits, so that many situations share it."""

import errno
import json
import socket
import struct
import sys

listeners = {}
sockets = {}
read_bytes = {}
written = {}


def pattern(start, end):
    return bytes((i * 7 + (i >> 8) * 13 + 1) & 255 for i in range(start, end))


def family(address):
    return socket.AF_INET6 if ':' in address else socket.AF_INET


def listen(key, address, port, buffer):
    s = socket.socket(family(address))
    if int(buffer):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))
    s.setblocking(False)
    s.bind((address, int(port)))
    s.listen(16)
    listeners[key] = s
    return ''


def adopt(key, s):
    s.setblocking(False)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if key in sockets:
        sockets[key].close()
    sockets[key] = s
    read_bytes[key] = written[key] = 0


def accept(key):
    try:
        adopt(key, listeners[key].accept()[0])
        return 'accepted'
    except BlockingIOError:
        return 'nobody'


def connect(key, own, own_port, peer, peer_port):
    listeners.pop(key).close()  # it has the port
    s = socket.socket(family(own))
    adopt(key, s)
    s.bind((own, int(own_port)))
    code = s.connect_ex((peer, int(peer_port)))
    return '' if code == errno.EINPROGRESS else errno.errorcode[code]


def read(key):
    seen = []
    got = b''
    end = None
    while end is None:
        try:
            data = sockets[key].recv(1 << 20)
            got += data
            if not data:
                end = 'end'
        except BlockingIOError:
            end = ''
        except OSError as e:
            end = errno.errorcode[e.errno]
    if got:
        start = read_bytes[key]
        read_bytes[key] += len(got)
        if got != pattern(start, start + len(got)):
            return 'wrong bytes from %d on' % start
        seen.append('%d bytes' % len(got))
    if end:
        seen.append(end)
    return ', '.join(seen) or 'nothing'


def write(key, n):
    start = written[key]
    sent = sockets[key].send(pattern(start, start + int(n)))
    written[key] += sent
    return '' if sent == int(n) else '%d taken' % sent


def shutdown(key):
    sockets[key].shutdown(socket.SHUT_WR)
    return ''


def close(key):
    sockets.pop(key).close()
    return ''


def abort(key):
    s = sockets.pop(key)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
    return ''


def nodelay(key, on):
    sockets[key].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(on))
    return ''


def oobinline(key):
    sockets[key].setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return ''


def forget(key):
    """Whatever is left of a situation goes, without a word where possible."""
    if key in sockets:
        abort(key)
    if key in listeners:
        listeners.pop(key).close()
    return ''


VERBS = {f.__name__: f for f in (listen, accept, connect, read, write, shutdown, close, abort, nodelay, oobinline, forget)}

print('ready', flush=True)
for line in sys.stdin:
    number, key, verb = json.loads(line)
    name, *args = verb.split(' ')
    if name not in VERBS:
        answer = "verb '%s' is unknown" % verb
    elif name not in ('listen', 'accept', 'connect', 'forget') and key not in sockets:
        answer = 'no connection'
    else:
        try:
            answer = VERBS[name](key, *args)
        except OSError as e:
            answer = errno.errorcode[e.errno]
    print(json.dumps([number, answer]), flush=True)
