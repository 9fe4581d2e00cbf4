"""Many TCP connections in mid-transfer, in one process: the servers' sockets and the clients' in one epoll.

A client requests blocks of a server's byte pattern, one after the other, and compares each byte. A connection waits
for a part of a block at any time, so it is broken by any error, an early end, or a wrong byte. Rounds are paced: each
connection makes one request a round, so that the rest of the machine has time too.
"""

import errno
import resource
import select
import socket
import struct
import threading
import time

from agent import family
from case import SLOW
from topology import inside

BLOCK = 1000
PATTERN = bytes(range(251)) * 9


def pattern(at, size):
    return PATTERN[at % 251:at % 251 + size]


class Connection:
    """One of a client's."""

    def __init__(self, label, sock):
        self.label, self.sock = label, sock
        self.received = 0
        self.left = 0  # of the requested block
        self.asks = True  # with the next round
        self.error = ""


class Transfers:
    def __init__(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))
        self.epoll = select.epoll()
        self.handlers = {}
        self.all = []
        self.lock = threading.Lock()  # of the list and the handlers
        self.ends = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    # --- servers

    def serve(self, machine, port):
        with inside(machine):
            listener = socket.socket(socket.AF_INET6)  # of both families
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        listener.listen(4096)
        listener.setblocking(False)

        def accept(_):
            try:
                while True:
                    self.watch(*self.server(listener.accept()[0]))
            except BlockingIOError:
                pass

        self.watch(listener, accept)

    def server(self, sock):
        sent = 0

        def answer(_):
            nonlocal sent
            try:
                asked = sock.recv(100)
                if not asked:
                    return self.drop(sock)
                for _ in asked:
                    sock.sendall(pattern(sent, BLOCK))
                    sent += BLOCK
            except BlockingIOError:
                pass
            except OSError:
                self.drop(sock)

        return sock, answer

    # --- clients

    def open(self, label, machine, addr, port, count):
        """Opens connections, a few at a time."""
        for at in range(0, count, 400):
            part = [self.connect(label, machine, addr, port) for _ in range(min(400, count - at))]
            deadline = time.monotonic() + 60 * SLOW
            while not all(conn.error or conn.received for conn in part) and time.monotonic() < deadline:
                time.sleep(0.02)

    def connect(self, label, machine, addr, port):
        with inside(machine):
            sock = socket.socket(family(addr))
        conn = Connection(label, sock)
        sock.setblocking(False)
        said = sock.connect_ex((addr, port))
        if said not in (0, errno.EINPROGRESS):
            conn.error = errno.errorcode[said]
        self.watch(sock, lambda events: self.receive(conn, events))
        with self.lock:
            self.all.append(conn)
        return conn

    def receive(self, conn, _):
        try:
            data = conn.sock.recv(4096)
            if not data:
                raise ConnectionResetError(errno.EPIPE, "closed early")
            if data != pattern(conn.received, len(data)) or len(data) > conn.left:
                raise OSError(errno.EBADMSG, "damaged")
            conn.received += len(data)
            conn.left -= len(data)
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(conn, error)

    def fail(self, conn, error):
        conn.error = errno.errorcode.get(error.errno, str(error))
        self.drop(conn.sock)

    def ask(self, conn):
        """Requests the next block, once the last one has arrived."""
        try:
            if not conn.left and not conn.error:
                conn.sock.send(b"?")
                conn.left = BLOCK
        except (BlockingIOError, BrokenPipeError):
            pass  # not connected yet
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self.fail(conn, error)

    # --- the loop

    def watch(self, sock, handler):
        with self.lock:
            self.handlers[sock.fileno()] = handler
            self.epoll.register(sock, select.EPOLLIN)

    def drop(self, sock):
        with self.lock:
            self.handlers.pop(sock.fileno(), None)
            sock.close()

    def loop(self):
        while not self.ends:
            with self.lock:
                all = list(self.all)
            for at in range(0, len(all), 50):
                for conn in all[at:at + 50]:
                    self.ask(conn)
                self.handle(0)
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                self.handle(0.05)

    def handle(self, timeout):
        for fd, events in self.epoll.poll(timeout):
            handler = self.handlers.get(fd)
            if handler:
                handler(events)

    # --- results

    def after(self, *labels, blocks=2, patience=120 * SLOW):
        """Waits until each connection of these labels, or of all, is broken or has received more blocks. Returns what
        `broken` does; a connection that stands still is broken."""
        marks = [(conn, conn.received + blocks * BLOCK) for conn in self.all
                 if not conn.error and (not labels or conn.label in labels)]
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not all(conn.error or conn.received >= mark for conn, mark in marks):
            time.sleep(0.1)
        for conn, mark in marks:
            if not conn.error and conn.received < mark:
                conn.error = "stands still"
        return self.broken()

    def broken(self):
        """Returns for each label how many connections are broken, and by what."""
        found = {}
        for conn in self.all:
            errors = found.setdefault(conn.label, {})
            if conn.error:
                errors[conn.error] = errors.get(conn.error, 0) + 1
        return found

    def abort(self, *labels):
        """Closes the connections of these labels by RST."""
        for conn in self.all:
            if conn.label in labels and not conn.error:
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(*labels)

    def close(self, *labels):
        """Closes the connections of these labels, or all."""
        with self.lock:
            gone = [conn for conn in self.all if not labels or conn.label in labels]
            self.all = [conn for conn in self.all if conn not in gone]
        for conn in gone:
            self.drop(conn.sock)

    def end(self):
        self.close()
        self.ends = True
        self.thread.join()
