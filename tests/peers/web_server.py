"""A small web site on `aiohttp`; see cases.md.

usage: web_server.py
"""

import asyncio
import hashlib

from aiohttp import WSMsgType, web

from cases import say

CHUNK = b"tidegate" * 8192
# Streams of events that wait to be told to go on, by their id.
STREAMS = {}


async def hello(_request):
    return web.Response(text="hello")


async def send(request, response, count):
    await response.prepare(request)
    for at in range(0, count, len(CHUNK)):
        await response.write(CHUNK[: count - at])
    return response


async def known_length(request):
    count = int(request.match_info["count"])
    return await send(request, web.StreamResponse(headers={"Content-Length": str(count)}), count)


async def chunked(request):
    return await send(request, web.StreamResponse(), int(request.match_info["count"]))


async def digest(request):
    total, length = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        total.update(chunk)
        length += len(chunk)
    return web.json_response({"length": length, "sha256": total.hexdigest()})


async def echo(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for chunk in request.content.iter_any():
        await response.write(chunk)
    return response


async def peer(request):
    return web.Response(text=str(request.transport.get_extra_info("peername")[1]))


async def status(request):
    return web.Response(status=int(request.match_info["status"]))


async def events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    go_on = STREAMS[request.match_info["id"]] = asyncio.Semaphore(1)
    for number in (1, 2, 3):
        await go_on.acquire()
        await response.write(b"id: %d\ndata: event %d\n\n" % (number, number))
    await go_on.acquire()
    return response


async def go_on(request):
    STREAMS[request.match_info["id"]].release()
    return web.Response()


async def converse(request):
    socket = web.WebSocketResponse(max_msg_size=2**24, autoclose=False)
    await socket.prepare(request)
    while not socket.closed:
        message = await socket.receive()
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type == WSMsgType.CLOSE:
            await socket.close(code=message.data, message=message.extra.encode())
    return socket


ROUTES = [
    ("/hello", hello),
    ("/bytes/{count}", known_length),
    ("/chunks/{count}", chunked),
    ("/sum", digest),
    ("/echo", echo),
    ("/peer", peer),
    ("/status/{status}", status),
    ("/events/{id}", events),
    ("/next/{id}", go_on),
    ("/ws", converse),
]


async def main():
    site = web.Application(client_max_size=2**33)
    for path, answer in ROUTES:
        site.router.add_route("*", path, answer)
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say(port=runner.addresses[0][1])
    await asyncio.Event().wait()


asyncio.run(main())
