"""Errors as RFC 9457 problems: one line with what is wrong, its value and the remedy."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

FAILED = "the API failed; its log says how"
MEDIA = "application/problem+json"


class Problem(Exception):
    """An answer that is none. `detail` is one line: what, its value, what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more

    def body(self) -> dict[str, Any]:
        """As RFC 9457 has it."""
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.more}

    def encoded(self) -> bytes:
        return msgspec.json.encode(self.body())


def away(detail: str) -> Problem:
    """The broker does not answer; nothing is wrong with what was asked."""
    return Problem(503, detail, {"Retry-After": "2"})


def response_of(problem: Problem) -> Response:
    """For a route of the framework."""
    return Response(problem.encoded(), problem.status, problem.headers, media_type=MEDIA)


async def on_problem(request: Request, error: Exception) -> Response:
    """Handler of the framework for our own."""
    return response_of(error if isinstance(error, Problem) else Problem(500, FAILED))


async def on_http(request: Request, error: Exception) -> Response:
    """Handler for what the framework itself refuses: unknown paths and methods."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = {
        404: f"path {request.url.path}: there is none; see /docs",
        405: f"method {request.method}: not here; see /docs",
    }
    detail = said.get(status) or str(getattr(error, "detail", FAILED))
    headers = getattr(error, "headers", None)
    return response_of(Problem(status, detail, headers))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Handler for bodies and parameters that do not fit; every slip is listed, the first is the detail."""
    found = [_slip(e) for e in error.errors()] if isinstance(error, RequestValidationError) else [str(error)]
    problem = Problem(422, found[0])
    if len(found) > 1:
        problem.more["errors"] = found
    return response_of(problem)


def _slip(error: Mapping[str, Any]) -> str:
    """`where: what; remedy` of one of pydantic's errors."""
    place: Sequence[Any] = error.get("loc", ())
    where = ".".join(str(p) for p in place if p not in {"body", "query", "path"}) or "body"
    value = error.get("input")
    match error["type"]:
        case "value_error":
            return f"{where}: {str(error['msg']).removeprefix('Value error, ')}"
        case "missing":
            return f"{where}: is missing; add it"
        case "extra_forbidden":
            return f"{where}: is no field of it; leave it out"
        case "json_invalid":
            return "body: is no JSON; send one JSON object"
    shown = f", not {value!r}" if isinstance(value, str | int | float) else ""
    return f"{where}: {error['msg']}{shown}; mend it"
