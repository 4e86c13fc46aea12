"""Routes of checks. `GET /v1/check` is served before the framework (app.py); here it stands for the document at /docs."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from streams.catalog.decided import Decided
from streams.doors.asking import ENCODE, MOST_QUESTIONS, Asked, answer, asked_in, question_of
from streams.doors.auth import Principal
from streams.doors.door import Door
from streams.doors.problems import Problem
from streams.watch.check import Answer

SLICE = 20  # questions at once, then others get their turn
JSON = "application/json"


class Batch(Decided):
    """Several questions, answered in their order."""

    questions: tuple[Asked, ...] = Field(min_length=1, max_length=MOST_QUESTIONS)


_, _SCHEMAS = msgspec.json.schema_components([Answer], ref_template="#/components/schemas/{name}")
SCHEMAS: dict[str, Any] = dict(_SCHEMAS)
_REF = {"$ref": "#/components/schemas/Answer"}
_PARAMETERS = [
    {"name": name, "in": "query", "schema": schema, "description": said}
    for name, schema, said in (
        ("tenant", {"type": "string"}, "short for the dimension tenant_id"),
        ("amount", {"type": "string", "default": "0"}, "what is intended to be spent"),
        ("unit", {"type": "string", "default": "cost"}, "of the amount: cost, tokens, events, tool_calls, ..."),
        ("currency", {"type": "string"}, "of the amount; needed where budgets have several"),
        ("scope", {"type": "array", "items": {"type": "string"}}, "keys of scopes, instead of dimensions"),
        (
            "dimensions",
            {"type": "object", "additionalProperties": {"type": "string"}},
            "every other parameter is a dimension: team=search&run_id=r1&attributes.region_group=emea",
        ),
    )
]


def one(door: Door, query: bytes, principal: Principal) -> bytes:
    """The answer to a question in query parameters, as JSON."""
    return ENCODE(answer(door.view, question_of(asked_in(query), principal), principal))


def routes(door: Door) -> APIRouter:
    """Of checks."""
    router = APIRouter(tags=["check"])
    Checker = Annotated[Principal, Depends(door.allows("check"))]

    @router.get(
        "/v1/check",
        response_class=Response,
        responses={200: {"content": {JSON: {"schema": _REF}}}},
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def check(request: Request, principal: Checker) -> Response:
        """May this be spent? The worst verdict of every budget and run limit that covers the request, and of their parents."""
        return Response(one(door, request.scope["query_string"], principal), media_type=JSON)

    @router.post(
        "/v1/check",
        response_class=Response,
        responses={
            200: {
                "content": {
                    JSON: {"schema": {"type": "object", "properties": {"answers": {"type": "array", "items": _REF}}}}
                }
            }
        },
    )
    async def check_many(batch: Batch, principal: Checker) -> Response:
        """Several questions at once. One that cannot be answered is a problem in its place; the others are answered."""
        answers: list[Any] = []
        for i, asked in enumerate(batch.questions):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            try:
                answers.append(answer(door.view, question_of(asked, principal), principal))
            except Problem as problem:
                if problem.status == 503:
                    raise
                answers.append({"problem": problem.body()})
        return Response(ENCODE({"answers": answers}), media_type=JSON)

    return router
