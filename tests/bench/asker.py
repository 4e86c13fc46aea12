"""A light client for the bench of checks: `python -m tests.bench.asker HOST PORT RATE SECONDS CONNECTIONS < paths`.

HTTP/1.1 keep-alive, written by hand, since any client library costs more than the server. Once a millisecond it asks as often
as is due, whatever the answers do: a stall of the server leaves nothing out. A latency begins when a request is asked, waiting
for a free connection included; that the client itself was woken late is none of it. The last line is JSON, latencies in ms.
"""

import asyncio
import json
import sys
import time
from collections import deque

STEP_SECONDS = 0.001


class Connection(asyncio.Protocol):
    """One request at a time; calls back with the length of the answer."""

    def __init__(self, free: "deque[Connection]", done: "Asker") -> None:
        self._free, self._asker = free, done
        self._buffer = bytearray()
        self.asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._free.append(self)

    def ask(self, request: bytes, asked: float) -> None:
        self.asked = asked
        self._transport.write(request)  # type: ignore[attr-defined]  # a socket's

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, head)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        now = time.perf_counter()
        self._asker.took(self._buffer.startswith(b"HTTP/1.1 200"), now - self.asked)
        self._buffer.clear()
        self._free.append(self)
        self._asker.next()


class Asker:
    """Keeps to the moments at which requests are due."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests, self.free = requests, deque[Connection]()
        self.waiting = deque[float]()
        self.latencies, self.failed, self.asked = list[float](), 0, 0

    def took(self, is_ok: bool, latency: float) -> None:
        self.failed += not is_ok
        self.latencies.append(latency)

    def next(self) -> None:
        while self.waiting and self.free:
            self.asked += 1
            self.free.popleft().ask(self.requests[self.asked % len(self.requests)], self.waiting.popleft())

    async def run(self, host: str, port: int, rate: int, seconds: float, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self.free, self), host, port)
        start, made, total = time.perf_counter(), 0, int(rate * seconds)
        while made < total:
            now = time.perf_counter()
            due = min(total, int((now - start) * rate))
            self.waiting.extend([now] * max(0, due - made))
            made = max(made, due)
            self.next()
            await asyncio.sleep(STEP_SECONDS)
        async with asyncio.timeout(10):
            while len(self.latencies) < total:
                await asyncio.sleep(0.01)


def quantiles(found: list[float]) -> dict[str, float]:
    """In ms."""
    found.sort()
    return {
        name: round(found[min(len(found) - 1, int(len(found) * q))] * 1000, 3)
        for name, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))
    }


def main() -> None:
    host, port, rate, seconds, connections = sys.argv[1], *map(int, sys.argv[2:])
    paths = sys.stdin.read().split()
    asker = Asker([f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() for path in paths])
    began = time.process_time()
    try:
        import uvloop

        uvloop.run(asker.run(host, port, rate, seconds, connections))
    except ImportError:
        asyncio.run(asker.run(host, port, rate, seconds, connections))
    print(
        json.dumps(
            {
                "asked": len(asker.latencies),
                "failed": asker.failed,
                **quantiles(asker.latencies),
                "client_cpu_share": round((time.process_time() - began) / seconds, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
