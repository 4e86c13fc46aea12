"""The HTTP API as an ASGI application: a guard around FastAPI, and `GET /v1/check`, which is asked all the time, before it.

Decision: FastAPI checks bodies and writes the document at /docs, but costs more than a check does, so that the one hot route is
answered here, with the same functions. Connects to nothing; `streams.doors.serving` follows the topics beside it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from streams import __version__, metrics
from streams.doors import acts, checks, exceptions, health, pages, records
from streams.doors.door import Door
from streams.doors.problems import FAILED, MEDIA, Problem, on_http, on_invalid, on_problem

log = structlog.get_logger()
BODY_BYTES = 1 << 20
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
TOO_LONG = Problem(413, f"body: has more than {BODY_BYTES} bytes; send less at once")
_OK = metrics.DOOR_REQUESTS.labels("200")


def create_api(door: Door) -> "Guard":
    """The whole application."""
    app = FastAPIOffline(
        title="usage-streams",
        version=__version__,
        description="May this be spent? Budgets, alerts, exceptions. Money is a decimal string, time is RFC 3339 in UTC.",
        redoc_url=None,
    )
    for module in (checks, records, acts, exceptions, pages, health):
        app.include_router(module.routes(door))
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(Exception, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    _document(app)
    return Guard(app, door)


def _document(app: FastAPI) -> None:
    """Schemas of answers that pydantic does not make, and how to sign in."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = plain()
            parts = found.setdefault("components", {})
            parts.setdefault("schemas", {}).update(checks.SCHEMAS)
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"token": []}]
        return dict(app.openapi_schema or {})

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


class Guard:
    """Bounds bodies, refuses other sites' pages, answers checks, and says what went wrong as a problem."""

    def __init__(self, app: FastAPI, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        try:
            if method == "GET" and scope["path"] == "/v1/check":
                body = self._check(scope)
                _OK.inc()
                await _reply(send, 200, JSON_HEADERS, body)
                return
            if method not in SAFE:
                self._look_at(scope)
                body_read = Bounded(receive, send)
                receive, send = body_read.receive, body_read.send
            await self.app(scope, receive, _counted(send))
        except Problem as problem:
            metrics.DOOR_REQUESTS.labels(str(problem.status)).inc()
            headers = [(k.lower().encode(), v.encode()) for k, v in problem.headers.items()]
            await _reply(send, problem.status, [(b"content-type", MEDIA.encode()), *headers], problem.encoded())

    def _check(self, scope: Scope) -> bytes:
        try:
            principal = self.door.gate.allow(scope["headers"], "check")
            return checks.one(self.door, scope["query_string"], principal)
        except Problem:
            raise
        except Exception as error:  # whoever asks is told in the form that they know; the log has the rest
            log.exception("check failed")
            raise Problem(500, FAILED) from error

    @staticmethod
    def _look_at(scope: Scope) -> None:
        """Problem for a body that is too long, and for a page of another site that a browser lets act."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            raise Problem(
                413, f"body: has {length.decode(errors='replace')} bytes, {BODY_BYTES} are taken; send less at once"
            )
        origin = headers.get(b"origin", b"").decode(errors="replace")
        if origin and urlsplit(origin).netloc != headers.get(b"host", b"").decode(errors="replace"):
            raise Problem(403, f"origin {origin}: pages of other sites may not act here; send it without a browser")


class Bounded:
    """A body that is longer than allowed, whatever it said of its length: what the framework makes of that is not sent."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send, self._taken, self._is_said = receive, send, 0, False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > BODY_BYTES:
            raise TOO_LONG
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._taken <= BODY_BYTES:
            await self._send(message)
        elif not self._is_said:
            self._is_said = True
            await _reply(self._send, TOO_LONG.status, [(b"content-type", MEDIA.encode())], TOO_LONG.encoded())


def _counted(send: Send) -> Send:
    async def counted(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            metrics.DOOR_REQUESTS.labels(str(message["status"])).inc()
            names = {name for name, _ in message.get("headers", ())}
            if b"cache-control" not in names:
                message["headers"] = [*message.get("headers", ()), (b"cache-control", b"no-store")]
        await send(message)

    return counted


async def _reply(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
