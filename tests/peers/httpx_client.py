"""Client on `httpx` that runs every case of a web client but those it has nothing for; see cases.md.

usage: httpx_client.py URL
"""

import asyncio
import hashlib
import sys

from httpx import AsyncClient, Limits

from cases import run

URL = sys.argv[1]
BIG = b"tidegate" * 2**20


def client(**options):
    return AsyncClient(base_url=URL, trust_env=False, timeout=20, **options)


async def pieces():
    for at in range(0, len(BIG), 100_000):
        yield BIG[at : at + 100_000]


async def bodies():
    async with client() as session:
        assert (await session.get("/hello")).text == "hello"
        for content in (b"", b"x", BIG, pieces()):
            told = (await session.post("/sum", content=content)).json()
            expected = content if isinstance(content, bytes) else BIG
            assert told == {
                "length": len(expected),
                "sha256": hashlib.sha256(expected).hexdigest(),
            }


async def big_answers():
    async with client() as session:
        for path in (f"/bytes/{len(BIG)}", f"/chunks/{len(BIG)}"):
            assert (await session.get(path)).content == BIG


async def statuses():
    async with client() as session:
        for status in (200, 204, 304, 404, 418, 500, 503):
            for method in ("GET", "HEAD", "POST", "DELETE"):
                response = await session.request(method, f"/status/{status}")
                assert (response.status_code, response.content) == (status, b"")


async def connections_are_kept():
    opened = []

    async def count(event, _info):
        if event == "connection.connect_tcp.complete":
            opened.append(event)

    async with client() as session:
        for number in range(50):
            content = b"x" * number
            response = await session.post("/sum", content=content, extensions={"trace": count})
            assert response.json()["length"] == number
    assert len(opened) == 1, opened


async def many_at_once():
    async with client(limits=Limits(max_connections=50)) as session:

        async def one(number):
            response = await session.post("/echo", content=b"%d" % number)
            return response.content == b"%d" % number

        assert all(await asyncio.gather(*(one(number) for number in range(100))))


async def events():
    async with client() as session:
        async with session.stream("GET", "/events/httpx") as response:
            assert response.headers["content-type"] == "text/event-stream"
            lines = response.aiter_lines()
            for number in (1, 2, 3):
                event = [await anext(lines) for _ in range(3)]
                assert event == [f"id: {number}", f"data: event {number}", ""], event
                assert (await session.post("/next/httpx")).status_code == 200
            assert [line async for line in lines] == []


CASES = [bodies, big_answers, statuses, connections_are_kept, many_at_once, events]

asyncio.run(run(CASES))
