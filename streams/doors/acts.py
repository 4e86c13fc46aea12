"""Routes by which people act: each appends one command to usage.commands, signed by whoever asked, and answers 202.

The watch takes a command within a second; `GET` shows what became of it. A token that is limited acts on its own scopes alone.
"""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from streams.catalog.alerting import Matcher
from streams.catalog.decided import Decided
from streams.catalog.limits import Id, Moment
from streams.catalog.models import Catalog
from streams.doors.auth import EVERYBODY, Principal
from streams.doors.door import Door
from streams.doors.problems import Problem
from streams.doors.records import alert_of
from streams.doors.view import View
from streams.jobs import commands as job
from streams.jobs.commands import Asker, CommandRefused
from streams.watch.commands import Acknowledge, Annotate, EndSilence
from streams.watch.silences import match_of

Text = Annotated[str, Field(max_length=1024)]
Told = dict[str, Any]


class Note(Decided):
    """What somebody says about what they do."""

    note: Text = ""


class NewSilence(Decided):
    """See `[[silences]]` of the catalog; id and starts are made where they are not given."""

    id: Id | None = None
    match: Matcher = Matcher()
    starts: Moment | None = None
    ends: Moment
    reason: str = Field(min_length=1, max_length=512)


class NewAnnotation(Decided):
    """Something happened that may explain a figure."""

    type: Literal["deploy", "prompt_version", "incident", "other"]
    text: str = Field(min_length=1, max_length=1024)
    at: Moment | None = Field(None, description="when it happened; none: now")
    match: Matcher = Matcher()
    link: Text = ""


def routes(door: Door) -> APIRouter:
    """Of acts."""
    router = APIRouter(tags=["acts"])
    view, send = door.view, door.sender.send
    Operator = Annotated[Principal, Depends(door.allows("operate"))]

    @router.post("/v1/alerts/{alert_id}/ack", status_code=202)
    async def acknowledge(alert_id: str, principal: Operator, said: Note | None = None) -> Told:
        """Take an alert on: nobody is reminded or called after that."""
        command = acknowledgement(door, alert_id, principal, principal.name, said.note if said else "")
        return {"alert_id": alert_id, **await send(command)}

    @router.post("/v1/silences", status_code=202)
    async def silence(asked: NewSilence, principal: Operator) -> Told:
        """Tell nobody of the alerts that match, for a while; they are recorded all the same."""
        _own_match(asked.match, principal)
        name = asked.id or f"s-{uuid.uuid4().hex[:12]}"
        if name in view.commands.silences:
            raise Problem(409, f"silence {name}: is there already; take another id, or none")
        _known_rules(asked.match, view, principal)
        fields = asked.model_dump() | {"id": name}
        try:
            command = job.start_silence(Asker(principal.name, door.now()), fields, view.commands, view.catalog)
        except CommandRefused as error:
            raise Problem(422, str(error)) from error
        return {"silence_id": name, **await send(command)}

    @router.delete("/v1/silences/{silence_id}", status_code=202)
    async def unsilence(silence_id: str, principal: Operator) -> Told:
        """End a silence before its time; one of the catalog ends there."""
        known = view.commands.silences.get(silence_id)
        if known is None or not principal.sees(known.silence.match.tenant, known.silence.match.where):
            raise Problem(
                404, f"silence {silence_id}: nobody asked for it here; one of the catalog is ended by `apply`"
            )
        return {"silence_id": silence_id, **await send(EndSilence(silence_id=silence_id, **signed(door, principal)))}

    @router.post("/v1/annotations", status_code=202)
    async def annotate(asked: NewAnnotation, principal: Operator) -> Told:
        """Post a deploy, a prompt version or an incident, to stand beside the alerts that it may explain."""
        _own_match(asked.match, principal)
        _known_rules(asked.match, view, principal)
        name = f"a-{uuid.uuid4().hex[:12]}"
        command = Annotate(
            annotation_id=name,
            type=asked.type,
            text=asked.text,
            moment=asked.at or door.now(),
            match=match_of(asked.match),
            link=asked.link,
            **signed(door, principal),
        )
        return {"annotation_id": name, **await send(command)}

    return router


def acknowledgement(door: Door, alert_id: str, principal: Principal, by: str, note: str) -> Acknowledge:
    """Problem 404 where there is none, 409 where it does not fire: the watch would do nothing."""
    record = alert_of(door.view, alert_id, principal)
    try:
        return job.acknowledge(Asker(by, door.now()), record, note)
    except CommandRefused as error:
        raise Problem(409, str(error)) from error


def signed(door: Door, by: Principal | str) -> Told:
    """The fields that every command has: its id, when, and who asked for it."""
    return {
        "command_id": uuid.uuid4().hex,
        "at": door.now(),
        "by": by if isinstance(by, str) else by.name,
    }


def _known_rules(match: Matcher, view: View, principal: Principal) -> None:
    """Problem 422 for an id that nothing has. To a limited token other tenants' rules are none."""
    try:
        job.check_rules(match.rules, _visible(view.catalog, principal), lambda: view.alert_rules(principal.sees))
    except CommandRefused as error:
        raise Problem(422, str(error)) from error


def _visible(catalog: Catalog, principal: Principal) -> Catalog:
    if principal.tenant == EVERYBODY:
        return catalog
    tenants = {EVERYBODY, principal.tenant}
    own = {s: tuple(x for x in getattr(catalog, s) if x.tenant in tenants) for s in ("budgets", "runs", "rules")}
    budgets = {b.id for b in own["budgets"]}
    return catalog.model_copy(update=own | {"burn_rates": tuple(r for r in catalog.burn_rates if r.budget in budgets)})


def _own_match(match: Matcher, principal: Principal) -> None:
    """A limited token may match its own scopes alone. Problem 403 says how to write that."""
    if principal.is_limited and not principal.sees(match.tenant, match.where):
        raise Problem(403, f"match: this token is for {principal.allowed()}; write tenant and where of match so")
