"""Client on `aiohttp` that runs every case of a web client; see cases.md.

usage: aiohttp_client.py URL
"""

import asyncio
import hashlib
import sys

from aiohttp import ClientSession, TraceConfig, WSMsgType

from cases import run

URL = sys.argv[1]
BIG = b"tidegate" * 2**20


async def bodies():
    async with ClientSession(URL) as session:
        async with session.get("/hello") as response:
            assert await response.text() == "hello"
        for data in (b"", b"x", BIG, pieces()):
            async with session.post("/sum", data=data) as response:
                told = await response.json(content_type=None)
            expected = data if isinstance(data, bytes) else BIG
            assert told == {
                "length": len(expected),
                "sha256": hashlib.sha256(expected).hexdigest(),
            }


async def pieces():
    for at in range(0, len(BIG), 100_000):
        yield BIG[at : at + 100_000]


async def big_answers():
    async with ClientSession(URL) as session:
        for path in (f"/bytes/{len(BIG)}", f"/chunks/{len(BIG)}"):
            async with session.get(path) as response:
                assert await response.read() == BIG


async def statuses():
    async with ClientSession(URL) as session:
        for status in (200, 204, 304, 404, 418, 500, 503):
            for method in ("GET", "HEAD", "POST", "DELETE"):
                async with session.request(method, f"/status/{status}") as response:
                    assert response.status == status
                    assert await response.read() == b""


async def both_ways_at_once():
    heard = asyncio.Semaphore(0)

    async def turns():
        for turn in range(5):
            yield b"turn %d" % turn
            await heard.acquire()

    async with ClientSession(URL) as session:
        async with session.post("/echo", data=turns()) as response:
            for turn in range(5):
                assert await response.content.readexactly(6) == b"turn %d" % turn
                heard.release()
            assert await response.read() == b""


async def connections_are_kept():
    opened = []

    async def count(*_):
        opened.append(1)

    trace = TraceConfig()
    trace.on_connection_create_end.append(count)
    async with ClientSession(URL, trace_configs=[trace]) as session:
        for number in range(50):
            async with session.post("/sum", data=b"x" * number) as response:
                assert (await response.json(content_type=None))["length"] == number
    assert len(opened) == 1, opened


async def many_at_once():
    async with ClientSession(URL) as session:

        async def one(number):
            async with session.post("/echo", data=b"%d" % number) as response:
                return await response.read() == b"%d" % number

        assert all(await asyncio.gather(*(one(number) for number in range(300))))


async def events():
    async with ClientSession(URL) as session:
        async with session.get("/events/aiohttp") as response:
            assert response.content_type == "text/event-stream"
            for number in (1, 2, 3):
                event = await response.content.readuntil(b"\n\n")
                assert event == b"id: %d\ndata: event %d\n\n" % (number, number), event
                async with session.post("/next/aiohttp") as told:
                    assert told.status == 200
            assert await response.read() == b""


async def websocket():
    async with ClientSession(URL) as session:
        for options in ({}, {"compress": 15}):
            async with session.ws_connect("/ws", max_msg_size=2**24, **options) as socket:
                await socket.send_str("grüße 🌊")
                assert (await socket.receive()).data == "grüße 🌊"
                await socket.send_bytes(BIG[: 2**20])
                assert (await socket.receive()).data == BIG[: 2**20]
                await socket.close(code=4001)
                assert (await socket.receive()).type == WSMsgType.CLOSED
                assert socket.close_code == 4001


CASES = [
    bodies,
    big_answers,
    statuses,
    both_ways_at_once,
    connections_are_kept,
    many_at_once,
    events,
    websocket,
]

asyncio.run(run(CASES))
