"""Routes of exceptions: ask for more than a budget allows, decide, revoke. Nothing counts before somebody has approved it."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from streams.catalog.decided import Decided
from streams.catalog.dimensions import Dimension
from streams.catalog.limits import Id, Moment
from streams.catalog.money import Money
from streams.doors.acts import Note, Text, Told
from streams.doors.auth import LOOPBACK, Principal
from streams.doors.door import Door
from streams.doors.problems import Problem
from streams.doors.records import case_of
from streams.jobs import commands as job
from streams.jobs.commands import OWN_REQUEST, Asker, CommandRefused, is_own
from streams.watch.commands import Decide
from streams.watch.coverage import TENANT


class NewException(Decided):
    """More than a budget allows, for a while: what `[[exceptions]]` of the catalog say, before somebody approves it."""

    budget: Id
    tenant: str | None = None
    where: dict[Dimension, str] = Field(default_factory=dict, description="the scope's values of `each`")
    extra: Money = Field(description="added to the limit")
    justification: str = Field(min_length=1, max_length=1024)
    workload_class: str = Field("", max_length=128)
    tier: str = Field("", max_length=128)
    starts: Moment | None = Field(None, description="none: once it is approved")
    expires: Moment
    reason_ends: Moment | None = None
    review: Moment | None = None


class Decision(Decided):
    """What an approver says."""

    approved: bool
    note: Text = ""


def routes(door: Door) -> APIRouter:
    """Of exceptions."""
    router = APIRouter(tags=["exceptions"])
    view, send = door.view, door.sender.send
    Operator = Annotated[Principal, Depends(door.allows("operate"))]
    Approver = Annotated[Principal, Depends(door.allows("approve"))]

    @router.post("/v1/exceptions", status_code=202)
    async def request(asked: NewException, principal: Operator) -> Told:
        """Ask for more than a budget allows; it counts once somebody with the role `approve` has approved it."""
        dims = principal.confined(asked.where | ({TENANT: asked.tenant} if asked.tenant else {}))
        tenant = dims.pop(TENANT, None)
        if tenant is None:
            raise Problem(422, "tenant: is missing; say whose budget it is")
        name = f"x-{uuid.uuid4().hex[:12]}"
        fields = asked.model_dump() | {"id": name, "tenant": tenant, "where": dims}
        try:
            command = job.request(Asker(principal.name, door.now()), fields, view.commands, view.catalog)
        except CommandRefused as error:
            raise Problem(422, str(error).removeprefix(f"exception {name}: ")) from error
        return {"request_id": name, **await send(command)}

    @router.post("/v1/exceptions/{request_id}/decide", status_code=202)
    async def decide(request_id: str, asked: Decision, principal: Approver) -> Told:
        """Approve or deny what was requested; the first decision counts, and nobody approves what they asked for."""
        command = decision(door, request_id, principal, principal.name, asked.approved, asked.note)
        return {"request_id": request_id, **await send(command)}

    @router.post("/v1/exceptions/{request_id}/revoke", status_code=202)
    async def revoke(request_id: str, principal: Approver, said: Note | None = None) -> Told:
        """End an approved exception before it expires."""
        case_of(view, request_id, principal)
        try:
            command = job.revoke(
                Asker(principal.name, door.now()), request_id, said.note if said else "", view.commands, view.catalog
            )
        except CommandRefused as error:
            raise Problem(409, str(error)) from error
        return await send(command)

    return router


def decision(
    door: Door, request_id: str, principal: Principal, by: str, approved: bool, note: str, signer: str = ""
) -> Decide:
    """signer: who vouches for `by`. Problem 404 where nothing was requested, 409 where it was decided, 403 where one of
    both asked for it. Without tokens nobody is known by name: whoever is at this machine may approve what they asked for.
    """
    case = case_of(door.view, request_id, principal)
    if approved and case.decision is None and is_own(case, {by, signer} - {LOOPBACK.name}):
        raise Problem(403, f"exception {request_id}: {case.request.by} asked for it; {OWN_REQUEST}")
    try:
        return job.decide(Asker(by, door.now()), request_id, approved, note, door.view.commands, own=True)
    except CommandRefused as error:
        raise Problem(409, str(error)) from error
