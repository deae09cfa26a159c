"""What the kernel's books say: memory of a process tree, buffers of its sockets; and clients that stay."""

import base64
import os
import re
import socket
import subprocess
from pathlib import Path


def tree(root):
    """The process and all its descendants."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def pss_bytes(root):
    """Memory of the tree, what is shared counted by its part."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss: +(\d+)", text, re.M).group(1)) * 1024
    return total


def socket_buffer_bytes(root):
    """What the kernel holds in the TCP buffers of the tree's own sockets, to read and to send."""
    pids = {f"pid={pid}," for pid in tree(root)}
    listing = subprocess.run(
        ["ss", "-tnpmOH", "state", "connected"], capture_output=True, text=True, check=True
    ).stdout
    total = 0
    for line in listing.splitlines():
        if any(pid in line for pid in pids):
            received, queued = re.search(r"skmem:\(r(\d+),.*?,w(\d+),", line).groups()
            total += int(received) + int(queued)
    return total


class Sessions:
    """WebSockets that are open and never read from."""

    def __init__(self, port, path, count):
        self.sockets = [self.open(port, path) for _ in range(count)]

    @staticmethod
    def open(port, path):
        client = socket.create_connection(("127.0.0.1", port), 10)
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        # One byte at a time: what follows the head stays where it is.
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                raise SystemExit(f"{path}: closed inside the answer")
            head += byte
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"{path}: {head.splitlines()[0].decode()}")
        return client

    def close(self):
        for client in self.sockets:
            client.close()
