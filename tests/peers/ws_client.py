"""Client on the `websockets` library that runs every case of cases.md.

usage: ws_client.py URL [CA], or ws_client.py ws+unix:PATH
"""

import asyncio
import os
import ssl
import sys

from cases import run
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed

URL = sys.argv[1]
TLS = ssl.create_default_context(cafile=sys.argv[2]) if len(sys.argv) > 2 else None


def dial(**options):
    options.setdefault("compression", None)
    options.setdefault("max_size", 2**24)
    if URL.startswith("ws+unix:"):
        return unix_connect(URL.removeprefix("ws+unix:"), **options)
    return connect(URL, ssl=TLS, proxy=None, **options)


async def echoes(socket, message):
    await socket.send(message)
    assert await socket.recv() == message


async def text():
    async with dial() as socket:
        await echoes(socket, "grüße, 世界 🌊")


async def binary():
    async with dial() as socket:
        await echoes(socket, bytes(range(256)))


async def fragmented():
    async with dial() as socket:
        await socket.send(["three", " ", "fragments"])
        assert await socket.recv() == "three fragments"


async def one_mebibyte():
    async with dial() as socket:
        await echoes(socket, os.urandom(2**20))


async def empty():
    async with dial() as socket:
        await echoes(socket, "")
        await echoes(socket, b"")


async def ping_from_client():
    async with dial() as socket:
        await (await socket.ping("are you there?"))


async def ping_from_server():
    async with dial() as socket:
        await socket.send("ping")
        assert await socket.recv() == "pong"


async def close_from_client():
    async with dial() as socket:
        await socket.close(4001, "enough")
    assert (socket.close_code, socket.close_reason) == (4001, "enough")


async def close_from_server():
    for code in (1000, 1001, 1011, 3000, 4999):
        async with dial() as socket:
            await socket.send(f"close {code} as asked")
            try:
                await socket.recv()
                raise AssertionError("the server did not close")
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, "as asked"), closed


async def subprotocol():
    async with dial(subprotocols=["other", "chat"]) as socket:
        assert socket.subprotocol == "chat"
        await echoes(socket, "over chat")
    async with dial() as socket:
        assert socket.subprotocol is None


async def deflate():
    async with dial(compression="deflate") as socket:
        agreed = socket.response.headers["Sec-WebSocket-Extensions"]
        assert agreed.startswith("permessage-deflate"), agreed
        await echoes(socket, "squeeze me " * 10_000)
        await echoes(socket, os.urandom(100_000))


CASES = [
    text,
    binary,
    fragmented,
    one_mebibyte,
    empty,
    ping_from_client,
    ping_from_server,
    close_from_client,
    close_from_server,
    subprotocol,
    deflate,
]


asyncio.run(run(CASES))
