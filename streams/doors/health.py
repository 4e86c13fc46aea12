"""Routes for those who keep the service running: alive, ready, metrics."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.doors.auth import Principal
from streams.doors.door import Door

TOLERATED_MS = 60_000


def routes(door: Door) -> APIRouter:
    """Of health."""
    router = APIRouter(tags=["health"])
    Reader = Annotated[Principal, Depends(door.allows("read"))]

    @router.get("/healthz", response_class=Response)
    async def alive() -> Response:
        """200: this process answers."""
        return Response(b'{"ok":true}', media_type="application/json")

    @router.get("/readyz", response_class=Response)
    async def ready() -> Response:
        """200: everything is read and not older than a minute; else 503 with the reasons. Checks are answered all the same."""
        reasons, view = door.view.reasons(TOLERATED_MS), door.view
        found = {
            "ready": not reasons,
            "reasons": reasons,
            "catalog_sequence": view.sequence,
            "staleness_ms": {str(q): age for q, age in view.staleness().items()},
        }
        return Response(msgspec.json.encode(found), 503 if reasons else 200, media_type="application/json")

    @router.get("/metrics", response_class=Response)
    async def metrics(principal: Reader) -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
