"""Routes that read: budgets, alerts, enforcements, exceptions. Each shows what the asker's token may see."""

import asyncio
from bisect import insort
from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from streams.catalog.limits import Moment, Severity
from streams.doors.auth import Principal
from streams.doors.door import Door
from streams.doors.problems import Problem
from streams.doors.view import DECODE, View, dimensions_in
from streams.watch.alerts import instant
from streams.watch.commands import Case, Decided, ms_of, plain
from streams.watch.coverage import TENANT, parse_key
from streams.watch.packed_record import PackedRecord
from streams.watch.packed_record import ms_of as moment_ms

SLICE = 500  # records at once, then checks get their turn
MOST = 1_000
JSON = "application/json"
Verdict = Literal["allow", "warn", "require_approval", "stop"]
Limit = Annotated[int, Query(ge=1, le=MOST, description="records at most")]
ENCODE = msgspec.json.Encoder().encode


def routes(door: Door) -> APIRouter:
    """Of records."""
    router = APIRouter(tags=["records"])
    view = door.view
    Reader = Annotated[Principal, Depends(door.allows("read"))]

    @router.get("/v1/budgets", response_class=Response)
    async def budgets(
        principal: Reader,
        tenant: str | None = None,
        budget: str | None = None,
        verdict: Verdict | None = None,
        limit: Limit = 100,
        after: Annotated[str | None, Query(description="the last scope of the page before")] = None,
    ) -> Response:
        """What is used and left of each scope, as the watch last published it; `next` is the `after` of the next page.

        In the order of their keys, so that a page is the same whether the scope `after` is there, ever was, or is another's.
        """
        found = list[tuple[str, PackedRecord]]()
        for i, scope in enumerate(view.scopes(f"{budget}|" if budget else "")):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if scope <= (after or "") or (len(found) == limit and scope > found[-1][0]):
                continue  # most end here: what is no part of this page need not be unpacked
            standing = view.standing(scope)
            if standing is None or (tenant or standing.tenant_id) != standing.tenant_id:
                continue
            if (verdict or standing.verdict) != standing.verdict or not _sees(principal, scope, view):
                continue
            insort(found, (scope, standing), key=itemgetter(0))
            del found[limit:]
        shown = [_shown(scope, standing) for scope, standing in found]
        return _json({"budgets": shown, "next": found[-1][0] if len(found) == limit else None})

    @router.get("/v1/alerts", response_class=Response)
    async def alerts(
        principal: Reader,
        state: Literal["pending", "firing", "acknowledged", "resolved"] | None = None,
        severity: Severity | None = None,
        tenant: str | None = None,
        budget: str | None = None,
        owner: str | None = None,
        scope: str | None = None,
        kind: str | None = None,
        since: Annotated[Moment | None, Query(description="occurred at or after, RFC 3339 or a day")] = None,
        limit: Limit = 100,
    ) -> Response:
        """Alerts as they stand, the last change first. The last 20,000 are kept; SQL has them all."""
        wanted = {
            "severity": severity,
            "tenant_id": tenant,
            "budget_id": budget,
            "owner": owner,
            "scope": scope,
            "kind": kind,
        }
        asked = {name: value for name, value in wanted.items() if value is not None}
        found = list[dict[str, Any]]()
        for i, alert in enumerate(reversed(list(view.alerts.values()))):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if (state or alert.state) != alert.state:
                continue
            record = DECODE.decode(alert.body)
            if any(record.get(name) != value for name, value in asked.items()):
                continue
            if not (_is_since(record, since) and principal.sees(record["tenant_id"], dimensions_in(record))):
                continue
            found.append(record)
            if len(found) == limit:
                break
        return _json({"alerts": found})

    @router.get("/v1/alerts/{alert_id}", response_class=Response)
    async def alert(alert_id: str, principal: Reader) -> Response:
        """One alert as it stands, with everything that its record says."""
        return _json(alert_of(view, alert_id, principal))

    @router.get("/v1/enforcements", response_class=Response)
    async def enforcements(
        principal: Reader,
        tenant: str | None = None,
        budget: str | None = None,
        scope: str | None = None,
        verdict: Verdict | None = None,
        limit: Limit = 100,
    ) -> Response:
        """Changes of verdicts, the newest first. The last 10,000 are kept; SQL has them all."""
        wanted = {"tenant_id": tenant, "budget_id": budget, "scope": scope, "verdict": verdict}
        asked = {name: value for name, value in wanted.items() if value is not None}
        found = [
            record
            for record in map(DECODE.decode, reversed(view.enforcements.values()))
            if all(record.get(name) == value for name, value in asked.items())
            and principal.sees(record["tenant_id"], dimensions_in(record))
        ]
        return _json({"enforcements": found[:limit]})

    @router.get("/v1/exceptions", response_class=Response)
    async def exceptions(principal: Reader, state: Decided | None = None, limit: Limit = 100) -> Response:
        """What was requested beyond a budget, and what became of it: requested, approved, denied, revoked. The newest first."""
        cases = reversed(list(view.commands.cases.items()))
        found = [
            case_shown(case)
            for _, case in cases
            if (state or case.state) == case.state and principal.sees(case.request.tenant, case.request.where)
        ]
        return _json({"exceptions": found[:limit]})

    return router


def alert_of(view: View, alert_id: str, principal: Principal) -> dict[str, Any]:
    """An alert that the asker may see. Problem 404 says no more of one that they may not."""
    record = view.alert(alert_id)
    if record is None or not principal.sees(record["tenant_id"], dimensions_in(record)):
        raise Problem(404, f"alert {alert_id}: there is none; GET /v1/alerts lists them")
    return record


def case_of(view: View, request_id: str, principal: Principal) -> Case:
    """A request that the asker may see. Problem 404 says no more of one that they may not."""
    case = view.commands.cases.get(request_id)
    if case is None or not principal.sees(case.request.tenant, case.request.where):
        raise Problem(404, f"exception {request_id}: was not requested; GET /v1/exceptions lists those that were")
    return case


def case_shown(case: Case) -> dict[str, Any]:
    """A request, its decision and its end."""
    return {
        "state": case.state,
        "request": plain(case.request),
        "decision": plain(case.decision) if case.decision else None,
        "revocation": plain(case.revocation) if case.revocation else None,
    }


def _is_since(record: Mapping[str, Any], since: datetime | None) -> bool:
    """As instants: the same moment is written in many ways."""
    return since is None or (moment_ms(record["occurred_at"]) or 0) >= ms_of(since)


def _sees(principal: Principal, scope: str, view: View) -> bool:
    if not principal.is_limited:
        return True
    name, dims = parse_key(scope)
    cover = view.coverage.covers.get(name)
    return principal.sees(dims[TENANT], {**dims, **dict(cover.where)} if cover else dims)


def _shown(scope: str, standing: PackedRecord) -> dict[str, Any]:
    """The record as usage.budgets has it, as far as it is kept."""
    found = dict(zip(standing.__struct_fields__, msgspec.structs.astuple(standing), strict=True))
    del found["until"], found["offset"], found["stream"]
    moments = {
        name: None if found[name] is None else instant(found[name]) for name in ("period_start", "period_end", "as_of")
    }
    return {"scope": scope, **found, **moments}


def _json(found: Any) -> Response:
    return Response(ENCODE(found), media_type=JSON)
