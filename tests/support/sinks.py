"""Endpoints on real sockets that misbehave as they are told: HTTP and SMTP, in the clear and with TLS."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trustme

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def status(code: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer as bytes; `Retry_After` is a header of that name."""
    lines = [
        f"HTTP/1.1 {code} X",
        f"Content-Length: {len(body)}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Seen:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sink:
    """`answer` says what becomes of each request: bytes, or `hang`, `close`, `drip`. `seen` are the requests."""

    port: int = 0
    tls: bool = False
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Seen], bytes | str] = lambda seen: OK
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            one = Seen(head[0].split(" ")[1], headers, body)
            self.seen.append(one)
            match self.answer(one):
                case "hang":
                    await reader.read()  # until the other side gives up
                case "drip":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    for _ in range(1_000):
                        writer.write(b"x")
                        await writer.drain()
                        await asyncio.sleep(0.02)
                case "flood":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1_000_000)
                    await writer.drain()
                    await reader.read()
                case bytes() as said:
                    writer.write(said)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server on loopback; at the end whoever still hangs there is let go."""
    talks = set[asyncio.Task[None]]()
    writers = list[asyncio.StreamWriter]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]  # there is one
        writers.append(writer)
        with suppress(asyncio.CancelledError):  # asyncio's own callback would complain of it
            await serve(reader, writer)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def http_sink(
    answer: Callable[[Seen], bytes | str] | bytes | str = OK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sink]:
    """A server on loopback."""
    sink = Sink(tls=tls is not None)
    sink.answer = answer if callable(answer) else lambda seen: answer
    async with listening(sink.serve, tls) as sink.port:
        yield sink


def certificate(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server that has one for these names, and for a client that trusts whoever issued it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(*names).configure_cert(server)
    authority.configure_trust(client)
    return server, client


@dataclass
class Mail:
    """A mail that was taken."""

    recipients: list[str]
    content: bytes


@dataclass
class MailSink:
    """`answers` by command (RCPT, DATA, AUTH): what is replied instead. `mails` are those that were taken."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    login: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients = list[str]()

        async def say(*lines: str) -> None:
            writer.write("".join(f"{line}\r\n" for line in lines).encode())
            await writer.drain()

        await say("220 mail.example ready")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            word, _, rest = line.partition(" ")
            usual = "250 OK"
            match word.upper():
                case "EHLO":
                    offers = ["STARTTLS"] if self.tls else []
                    offers += ["AUTH PLAIN"] if self.login else []
                    lines = ["mail.example", *offers, "8BITMIME"]
                    await say(*(f"250-{o}" for o in lines[:-1]), f"250 {lines[-1]}")
                    continue
                case "STARTTLS":
                    await say("220 go ahead")
                    await writer.start_tls(self.tls)  # type: ignore[arg-type]  # offered only where there is one
                    continue
                case "AUTH":
                    self.logins.append(base64.b64decode(rest.rpartition(" ")[2]))
                    usual = "235 welcome"
                case "RCPT":
                    recipients.append(rest.partition("<")[2].rpartition(">")[0])
                case "DATA":
                    await say("354 go on")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    if word.upper() not in self.answers:
                        self.mails.append(Mail(recipients, content[:-3]))
                case "QUIT":
                    await say("221 bye")
                    return
            await say(self.answers.get(word.upper(), usual))


@asynccontextmanager
async def smtp_sink(
    tls: ssl.SSLContext | None = None, from_the_start: bool = False, login: bool = False
) -> AsyncIterator[MailSink]:
    """A mail server on loopback, with STARTTLS where `tls` is given, or TLS from the first byte."""
    sink = MailSink(tls=None if from_the_start else tls, login=login)
    async with listening(sink.serve, tls if from_the_start else None) as sink.port:
        yield sink
