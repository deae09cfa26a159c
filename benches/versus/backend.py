"""Backends that do what an echo does not: push to all clients at a pace, or flood each of them."""

import base64
import hashlib
import socket
import struct
import sys
import threading
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# What the proxy under test must not wait for: a client that stalls stalls its own sender only.
SEND_TIMEOUT_SECONDS = 3600


def frame(payload_bytes):
    """A server's binary frame of zeros."""
    if payload_bytes < 126:
        return struct.pack("!BB", 0x82, payload_bytes) + bytes(payload_bytes)
    if payload_bytes < 65536:
        return struct.pack("!BBH", 0x82, 126, payload_bytes) + bytes(payload_bytes)
    return struct.pack("!BBQ", 0x82, 127, payload_bytes) + bytes(payload_bytes)


def shake_hands(client):
    head = b""
    while b"\r\n\r\n" not in head:
        part = client.recv(4096)
        if not part:
            raise ConnectionError("closed inside the request")
        head += part
    key = next(
        line.split(b":", 1)[1].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def flood(client):
    """Sends 64 KiB messages for as long as they are taken."""
    shake_hands(client)
    client.settimeout(SEND_TIMEOUT_SECONDS)
    message = frame(65536)
    while True:
        client.sendall(message)


class Pusher:
    """Sends 128 bytes to every client, ten times a second."""

    ROUNDS_A_SECOND = 10

    def __init__(self):
        self.clients = set()
        threading.Thread(target=self.push, daemon=True).start()

    def serve(self, client):
        shake_hands(client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.add(client)
        try:
            while data := client.recv(4096):
                if data[0] & 0x0F == 8:
                    self.clients.discard(client)
                    client.sendall(b"\x88\x02\x03\xe8")
        finally:
            self.clients.discard(client)

    def push(self):
        message = frame(128)
        due = time.monotonic()
        while True:
            due += 1 / self.ROUNDS_A_SECOND
            time.sleep(max(0, due - time.monotonic()))
            for client in list(self.clients):
                try:
                    client.send(message, socket.MSG_DONTWAIT)
                except OSError:
                    self.clients.discard(client)


def accept_all(listener, serve):
    def guarded(client):
        try:
            serve(client)
        except (OSError, ConnectionError, StopIteration):
            pass
        finally:
            client.close()

    while True:
        client, _ = listener.accept()
        threading.Thread(target=guarded, args=(client,), daemon=True).start()


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    # A client's thread needs next to no stack.
    threading.stack_size(256 * 1024)
    serve = flood if kind == "flood" else Pusher().serve
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        accept_all(listener, serve)


if __name__ == "__main__":
    main()
