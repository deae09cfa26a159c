"""Tells every request as `aiohttp` got it and answers each in the same way; see cases.md.

usage: mirror.py
"""

import asyncio
import hashlib

from aiohttp import web

from cases import say


async def answer(request):
    body = await request.read()
    say(
        event="request",
        method=request.method,
        target=request.raw_path,
        headers=[[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers],
        trailers=[],
        length=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )
    return web.Response(text=request.raw_path)


async def main():
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say(port=runner.addresses[0][1])
    await asyncio.Event().wait()


asyncio.run(main())
