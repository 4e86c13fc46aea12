"""ClickHouse's HTTP interface over the engine in this process: `python -m streams.embedded.gateway FOLDER PORT`.

On loopback, for one machine: no TLS, no users, bodies in memory. Everything above the connection string is the same as with a
server. What clients need and is not obvious: clickhouse-connect compresses each block as an LZ4 frame of its own, so frames
are read until none is left; `X-ClickHouse-Format` decides whether a command returned rows.
"""

import asyncio
import contextlib
import gzip
import re
import signal
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lz4.frame
from aiohttp import web

from streams.embedded.engine import Engine

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY_BYTES = 1 << 30
THREADS = 8
STATUS = {36: 400, 62: 400, 46: 404, 47: 404, 60: 404, 81: 404, 159: 408, 164: 403, 202: 503, 210: 503, 497: 403}
CODE = re.compile(r"Code: (\d+).*", re.DOTALL)


def _frames(body: bytes) -> bytes:
    parts = []
    while body:
        frame = lz4.frame.LZ4FrameDecompressor()
        parts.append(frame.decompress(body))
        body = frame.unused_data or b""
    return b"".join(parts)


class _Lz4:
    """An LZ4 frame in pieces, with the interface of zlib and zstd."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._frame.compress(data))

    def flush(self) -> bytes:
        return bytes(self._head + self._frame.flush())


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "lz4": _frames,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": zstd.decompress,
}
PACK: dict[str, Callable[[], Any]] = {
    "lz4": _Lz4,
    "gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, 31),
    "zstd": lambda: zstd.ZstdCompressor(1),
}


class Answer:
    """The way of one answer from the engine's thread to the client; a client that has gone stops the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.queue: asyncio.Queue[tuple[Mapping[str, str], bytes] | BaseException | None] = asyncio.Queue(8)
        self.gone = threading.Event()

    def put(self, headers: Mapping[str, str], data: bytes) -> None:
        self._send((headers, data))

    def end(self, error: BaseException | None) -> None:
        with contextlib.suppress(ConnectionAbortedError):
            self._send(error)

    def _send(self, item: tuple[Mapping[str, str], bytes] | BaseException | None) -> None:
        if self.gone.is_set():
            raise ConnectionAbortedError("the client has gone")
        asyncio.run_coroutine_threadsafe(self.queue.put(item), self._loop).result()

    def abandon(self) -> None:
        """The client has gone, or has everything: let a waiting thread return."""
        self.gone.set()
        while not self.queue.empty():
            self.queue.get_nowait()


class Gateway:
    """Requests to the engine, in a few threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._handle)
        return app

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "X-ClickHouse-Server-Display-Name": "usage-streams",
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": self._engine.zone,
        }
        parameters, body = dict(request.query.items()), b""
        if request.content_type == "multipart/form-data":
            async for part in await request.multipart():
                if part.filename or not part.name:  # type: ignore[union-attr]  # no nested multipart comes from clients
                    return web.Response(status=501, headers=headers, text="external data is not supported\n")
                parameters[part.name] = await part.text()  # type: ignore[union-attr]
        else:
            unpack = UNPACK.get(request.headers.get("Content-Encoding", ""))
            if unpack is None:
                return web.Response(status=415, headers=headers, text="content encoding: use lz4, zstd, gzip or none\n")
            body = unpack(await request.read())
        query = parameters.get("query", "").encode()
        sql = query + (b"\n" if query and body else b"") + body
        if not sql.strip():
            return web.Response(text="Ok.\n", headers=headers)
        answer = Answer(asyncio.get_running_loop())
        database = parameters.get("database") or request.headers.get("X-ClickHouse-Database") or ""

        def work() -> None:
            try:
                self._engine.run(sql, parameters, database, request.method == "GET", answer.put)
            except ConnectionAbortedError:
                return
            except BaseException as error:
                answer.end(error)
            else:
                answer.end(None)

        asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await self._reply(request, answer, headers, self._packing(request, parameters))
        finally:
            answer.abandon()

    @staticmethod
    def _packing(request: web.Request, parameters: Mapping[str, str]) -> str | None:
        if parameters.get("enable_http_compression") != "1":
            return None
        wanted = re.split(r"[,;\s]+", request.headers.get("Accept-Encoding", ""))
        return next((name for name in wanted if name in PACK), None)

    async def _reply(
        self, request: web.Request, answer: Answer, headers: dict[str, str], packing: str | None
    ) -> web.StreamResponse:
        item = await answer.queue.get()
        if isinstance(item, BaseException) or item is None:
            return _failure(item, headers)
        begun, data = item
        encoding = {"Content-Encoding": packing} if packing else {}
        response = web.StreamResponse(headers={**headers, **begun, **encoding})
        pack = PACK[packing]() if packing else None
        await response.prepare(request)
        while True:
            if data and (out := pack.compress(data) if pack else data):
                await response.write(out)
            item = await answer.queue.get()
            if isinstance(item, BaseException):
                if request.transport:
                    request.transport.abort()  # a broken body is the only way left to say so
                return response
            if item is None:
                break
            data = item[1]
        await response.write_eof(pack.flush() if pack else b"")
        return response


def _failure(error: BaseException | None, headers: dict[str, str]) -> web.Response:
    found = CODE.search(str(error))
    code = int(found[1]) if found else 1001
    text = found[0] if found else f"Code: 1001. DB::Exception: {error!r}"
    return web.Response(
        status=STATUS.get(code, 500), text=f"{text}\n", headers={**headers, "X-ClickHouse-Exception-Code": str(code)}
    )


async def serve(folder: Path, port: int) -> None:
    """Until SIGTERM or SIGINT."""
    engine = Engine(folder)
    # Bodies must arrive as they were sent: aiohttp would unpack only the first LZ4 frame.
    runner = web.AppRunner(Gateway(engine).application(), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()
    engine.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
