"""Signed links: whoever opens one sees what it would do, and does it by confirming. A preview that fetches it does nothing."""

from collections.abc import Mapping
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from pydantic import Field

from streams.catalog.decided import Decided
from streams.doors.acts import Told, acknowledgement
from streams.doors.auth import Principal
from streams.doors.door import Door
from streams.doors.exceptions import decision
from streams.doors.problems import Problem
from streams.doors.records import alert_of, case_of
from streams.links import DEFAULT_SECONDS, MOST_SECONDS, Act, Link, LinkUnusable
from streams.watch.commands import Acknowledge, Decide

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # The address is the credential, so no other site sees it; under no-referrer a browser sends `Origin: null` with the form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
ASKS = {"approve": "Approve this exception?", "deny": "Deny this exception?", "ack": "Acknowledge this alert?"}
DONE = {"approve": "Approved.", "deny": "Denied.", "ack": "Acknowledged."}
EVERYTHING = Principal(name="link", roles=frozenset())  # the link itself says what it is for


class NewLink(Decided):
    """A link by which somebody without a token may do one thing once; it holds for `seconds`."""

    act: Act
    id: str = Field(min_length=1, max_length=128, description="of the exception, or of the alert")
    by: str = Field(
        min_length=1, max_length=128, description="who it is for: stands in the record as the one who did it"
    )
    seconds: int = Field(DEFAULT_SECONDS, ge=60, le=MOST_SECONDS)


def routes(door: Door) -> APIRouter:
    """Of links."""
    router = APIRouter(tags=["links"])
    Approver = Annotated[Principal, Depends(door.allows("approve"))]

    @router.post("/v1/links", status_code=201)
    async def link(asked: NewLink, principal: Approver) -> Told:
        """Sign a link by which one person may do one thing; opening it shows what, and does nothing before they confirm.

        Whoever signs vouches for that person, and stands in the record beside them.
        """
        opened = _opened(alert_of(door.view, asked.id, principal)) if asked.act == "ack" else ""
        link = Link(asked.act, asked.id, asked.by, principal.name, asked.seconds, opened)
        _command(door, link, principal)  # what cannot be done is not signed
        try:
            path = door.links.path(link)
        except ValueError as error:
            raise Problem(501, str(error)) from error
        return {"link": path, "act": asked.act, "id": asked.id, "by": asked.by, "seconds": asked.seconds}

    @router.get("/v1/links/{token}", response_class=HTMLResponse)
    async def look(token: str) -> HTMLResponse:
        """What the link would do, and a button."""
        link = _read(door, token)
        try:
            rows = _described(door, link)
        except Problem as problem:
            return _page("There is nothing to do", {"": problem.detail}, "", problem.status)
        try:
            _command(door, link)
        except Problem as problem:
            return _page("There is nothing to do", {"": problem.detail, **rows}, "")
        button = f'<form method="post"><button type="submit">{escape(ASKS[link.act][:-1])}</button></form>'
        return _page(ASKS[link.act], {"as": link.by, **rows}, button)

    @router.post("/v1/links/{token}", response_class=HTMLResponse)
    async def act(token: str) -> HTMLResponse:
        """Do it, in the name of whom the link was made for."""
        link = _read(door, token)
        try:
            await door.sender.send(_command(door, link))
        except Problem as problem:
            return _page("It was not done", {"": problem.detail}, "", problem.status)
        return _page(DONE[link.act], {"as": link.by, "id": link.id}, "")

    return router


def _read(door: Door, token: str) -> Link:
    try:
        return door.links.read(token)
    except LinkUnusable as error:
        raise Problem(410 if "expired" in str(error) else 404, str(error)) from error


def _command(door: Door, link: Link, principal: Principal = EVERYTHING) -> Acknowledge | Decide:
    """What the link does, in the name of whom it was made for; the note says who signed it. Problem: it cannot be done."""
    note = f"by link, signed by {link.signer}"
    if link.act == "ack":
        if _opened(alert_of(door.view, link.id, principal)) != link.opened:
            raise Problem(409, f"alert {link.id}: opened anew since the link was signed; ask for another link")
        return acknowledgement(door, link.id, principal, link.by, note)
    return decision(door, link.id, principal, link.by, link.act == "approve", note, link.signer)


def _opened(record: Mapping[str, Any]) -> str:
    """Since when an alert is open: reminders and escalations leave that as it is."""
    return str(record.get("since") or "")


def _described(door: Door, link: Link) -> dict[str, str]:
    """What it is about."""
    if link.act == "ack":
        record = alert_of(door.view, link.id, EVERYTHING)
        return {"alert": link.id, "state": record["state"], "summary": record["summary"]}
    case = case_of(door.view, link.id, EVERYTHING)
    asked = case.request
    scope = ", ".join([asked.tenant, *(f"{n}={v}" for n, v in asked.where.items())])
    return {
        "exception": asked.request_id,
        "budget": f"{asked.budget} of {scope}",
        "more": f"{asked.extra:f}",
        "until": f"{asked.expires:%Y-%m-%d %H:%M} {asked.expires.tzname()}",
        "because": asked.justification,
        "asked by": asked.by,
        "signed by": link.signer,
    }


def _page(title: str, rows: dict[str, str], button: str, status: int = 200) -> HTMLResponse:
    lines = "".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in rows.items())
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font:16px sans-serif;margin:3em auto;max-width:40em}th{text-align:left;padding-right:1em}</style>"
        f"<h1>{escape(title)}</h1><table>{lines}</table>{button}</html>"
    )
    return HTMLResponse(body, status, HEADERS)
