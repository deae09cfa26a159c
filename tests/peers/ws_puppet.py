"""Client on the `websockets` library that a test leads by the hand; see cases.md.

usage: ws_puppet.py URL
"""

import asyncio
import sys

from cases import say
from websockets.asyncio.client import connect

URL = sys.argv[1]


async def orders():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n").split(" ", 2)


async def obey(socket):
    async for word, *rest in orders():
        if word == "text":
            await socket.send(" ".join(rest))
        elif word == "binary":
            await socket.send(bytes(int(rest[0])))
        elif word == "close":
            await socket.close(int(rest[0]), " ".join(rest[1:]))
        elif word == "raw":
            socket.transport.write(bytes.fromhex(rest[0]))


async def main():
    socket = await connect(
        URL, compression=None, proxy=None, ping_interval=None, close_timeout=20, max_size=2**24
    )
    say(event="open")
    obeying = asyncio.create_task(obey(socket))
    # Ends with the connection, however that ends: the code tells.
    asking = asyncio.create_task(listen(socket))
    await socket.wait_closed()
    asking.cancel()
    obeying.cancel()
    say(event="close", code=socket.close_code, reason=socket.close_reason)


async def listen(socket):
    while True:
        message = await socket.recv()
        text = message if isinstance(message, str) else None
        say(event="message", text=text, size=len(message))


asyncio.run(main())
