"""Echo server on the `websockets` library; see cases.md.

usage: ws_server.py [CERT KEY], or ws_server.py PATH for a unix socket
"""

import asyncio
import ssl
import sys

from cases import say
from websockets.asyncio.server import serve, unix_serve


async def converse(socket):
    async for message in socket:
        if message == "ping":
            await (await socket.ping())
            await socket.send("pong")
        elif isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            await socket.close(int(code), reason)
        else:
            await socket.send(message)


def choose(_connection, offered):
    return "chat" if "chat" in offered else None


async def main():
    options = {"select_subprotocol": choose, "max_size": 2**24}
    if len(sys.argv) == 2:
        async with unix_serve(converse, sys.argv[1], **options) as server:
            say(path=sys.argv[1])
            return await server.serve_forever()
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1], sys.argv[2])
    async with serve(converse, "127.0.0.1", 0, ssl=tls, **options) as server:
        say(port=server.sockets[0].getsockname()[1])
        await server.serve_forever()


asyncio.run(main())
