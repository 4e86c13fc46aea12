"""Commands as people ask for them: validated where they enter, whether by the command line or the API. What is returned may be
appended to usage.commands as it is. CommandRefused says what is wrong and what to do.
"""

import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from streams.catalog.alerting import Silence as SilenceModel
from streams.catalog.annotations import Annotation
from streams.catalog.limits import Exemption
from streams.catalog.limits_problems import NO_RULE, exception_misfit, named_rules, near
from streams.catalog.models import Catalog
from streams.watch.commands import (
    Acknowledge,
    Annotate,
    Case,
    Commands,
    Decide,
    EndSilence,
    Request,
    Revoke,
    StartSilence,
    ms_of,
)
from streams.watch.raised import ACKNOWLEDGED, FIRING
from streams.watch.silences import match_of, silence_of

MOST_NOTE = 1024  # signs
NOBODY_YET = "-"
OWN_REQUEST = "somebody else must approve it"
Model = TypeVar("Model", bound=BaseModel)


class CommandRefused(Exception):
    """Nothing was asked of anybody: what was given cannot be."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, when, and for which tenant alone they may, if for one."""

    by: str
    now: datetime
    tenant: str | None = None
    command_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def may(self, tenant: str, what: str) -> None:
        """CommandRefused when it belongs to somebody else."""
        if self.tenant is not None and tenant != self.tenant:
            raise CommandRefused(f"{what}: belongs to tenant {tenant}, you are limited to {self.tenant}; ask its owner")

    @property
    def signed(self) -> dict[str, Any]:
        return {"command_id": self.command_id, "at": self.now, "by": self.by}


def acknowledge(asker: Asker, record: Mapping[str, Any], note: str = "") -> Acknowledge:
    """record: the newest one of the alert."""
    name, state = str(record["alert_id"]), record["state"]
    asker.may(str(record["tenant_id"]), f"alert {name}")
    if state == ACKNOWLEDGED:
        by = (record.get("acknowledged") or {}).get("by", "somebody")
        raise CommandRefused(f"alert {name}: {by} has acknowledged it already; nothing is left to do")
    if state != FIRING:
        raise CommandRefused(f"alert {name}: is {state}; only what fires can be acknowledged")
    return Acknowledge(**asker.signed, alert_id=name, note=note, scope=str(record["scope"]))


def check_rules(names: Iterable[str], catalog: Catalog, of_alerts: Callable[[], Collection[str]]) -> None:
    """A slip in an id would match nothing, silently. of_alerts: ids of rules that alerts are of, which may be gone."""
    known = named_rules(catalog)
    if unknown := [name for name in names if name not in known]:
        known |= set(of_alerts())
        for name in unknown:
            if name not in known:
                raise CommandRefused(f"rule {name}: {NO_RULE}; {near(name, known)}")


def start_silence(asker: Asker, fields: Mapping[str, Any], known: Commands, catalog: Catalog) -> StartSilence:
    """fields: of `catalog.alerting.Silence`; without `id` it gets one."""
    given = {"id": f"silence-{asker.command_id[:8]}", "starts": asker.now} | {
        k: v for k, v in fields.items() if v is not None
    }
    found = _valid(SilenceModel, given, f"silence {given['id']}")
    if found.ends <= asker.now:
        raise CommandRefused(f"silence {found.id}: ends {found.ends:%Y-%m-%d %H:%M} is past; give a later end")
    if found.id in known.silences or found.id in _written(catalog):
        raise CommandRefused(f"silence {found.id}: there is one of that name; take another, names are used once")
    if asker.tenant is not None:
        asker.may(found.match.tenant, f"silence {found.id}")
    return StartSilence(**asker.signed, silence=silence_of(found))


def end_silence(asker: Asker, name: str, known: Commands, catalog: Catalog) -> EndSilence:
    """Of one that somebody started; what the catalog says is changed there."""
    if name in _written(catalog):
        raise CommandRefused(f"silence {name}: stands in the catalog; take it out there and `usage-streams apply`")
    started = known.silences.get(name)
    if started is None:
        raise CommandRefused(f"silence {name}: there is none; `usage-streams alerts silences` lists them")
    asker.may(started.silence.match.tenant, f"silence {name}")
    if name in known.lifted or started.silence.ends <= asker.now:
        raise CommandRefused(f"silence {name}: is over; nothing is left to do")
    return EndSilence(**asker.signed, silence_id=name)


def request(asker: Asker, fields: Mapping[str, Any], known: Commands, catalog: Catalog) -> Request:
    """fields: of `catalog.limits.Exemption` but for the approver; `starts` None: with the decision."""
    name = str(fields.get("id") or f"exception-{asker.command_id[:8]}")
    starts = fields.get("starts") or asker.now
    given = {k: v for k, v in fields.items() if v is not None} | {
        "id": name,
        "starts": starts,
        "approver": NOBODY_YET,
        "requested_by": asker.by,
    }
    found = _valid(Exemption, given, f"exception {name}")
    if found.expires <= asker.now:
        raise CommandRefused(f"exception {name}: expires {found.expires:%Y-%m-%d %H:%M} is past; give a later day")
    if name in known.cases or any(e.id == name for e in catalog.exceptions):
        raise CommandRefused(f"exception {name}: there is one of that name; take another, names are used once")
    asker.may(found.tenant, f"exception {name}")
    if why := exception_misfit(found, {b.id: b for b in catalog.budgets}, {r.id: r for r in catalog.runs}):
        raise CommandRefused(f"exception {name}: {why}")
    return Request(
        **asker.signed,
        request_id=name,
        budget=found.budget,
        tenant=found.tenant,
        extra=found.extra,
        justification=found.justification,
        expires=found.expires,
        where=dict(found.where),
        workload_class=found.workload_class,
        tier=found.tier,
        starts=found.starts if fields.get("starts") else None,
        reason_ends=found.reason_ends,
        review=found.review,
    )


def is_own(case: Case, names: Collection[str]) -> bool:
    """Whether one of those who approve, or vouch for who does, asked for it: two people look at what raises a limit."""
    return case.request.by in names


def decide(
    asker: Asker, name: str, approved: bool, note: str, known: Commands, approver: str = "", own: bool = False
) -> Decide:
    """Of a request that nobody decided yet; approver: who decides, if not who asks; own: they may have asked for it themselves,
    which the note says then."""
    case = known.cases.get(name)
    if case is None:
        raise CommandRefused(f"exception {name}: nobody requested it; `usage-streams exceptions list` says what waits")
    asker.may(case.request.tenant, f"exception {name}")
    if case.decision is not None:
        said = f"{case.state} by {case.decision.approver} on {case.decision.at:%Y-%m-%d}"
        raise CommandRefused(f"exception {name}: was {said}; request it anew under another name")
    if approved and case.request.expires <= asker.now:
        raise CommandRefused(
            f"exception {name}: expired on {case.request.expires:%Y-%m-%d}; request it anew with a later day"
        )
    if approved and is_own(case, {asker.by, approver}):
        if not own:
            raise CommandRefused(
                f"exception {name}: {case.request.by} asked for it; {OWN_REQUEST}, or give --own where one person does both"
            )
        note = f"own request; {note}"[:MOST_NOTE] if note else "own request"
    return Decide(**asker.signed, request_id=name, approved=approved, approver=approver or asker.by, note=note)


def revoke(asker: Asker, name: str, note: str, known: Commands, catalog: Catalog) -> Revoke:
    """Of one that was approved and has not expired."""
    if any(e.id == name for e in catalog.exceptions):
        raise CommandRefused(f"exception {name}: stands in the catalog; take it out there and `usage-streams apply`")
    case = known.cases.get(name)
    if case is None:
        raise CommandRefused(f"exception {name}: there is none; `usage-streams exceptions list` lists them")
    asker.may(case.request.tenant, f"exception {name}")
    if case.state != "approved":
        remedy = "deny it instead" if case.state == "requested" else "nothing is left to do"
        raise CommandRefused(f"exception {name}: is {case.state}; {remedy}")
    if ms_of(case.request.expires) <= ms_of(asker.now):
        raise CommandRefused(f"exception {name}: expired by itself; nothing is left to do")
    return Revoke(**asker.signed, request_id=name, note=note)


def annotate(asker: Asker, fields: Mapping[str, Any]) -> Annotate:
    """fields: of `catalog.annotations.Annotation`; without `moment` it happened now."""
    given = {"id": f"note-{asker.command_id[:8]}", "moment": asker.now} | {
        k: v for k, v in fields.items() if v is not None
    }
    found = _valid(Annotation, given, f"annotation {given['id']}")
    if asker.tenant is not None:
        asker.may(found.match.tenant, f"annotation {found.id}")
    return Annotate(
        **asker.signed,
        annotation_id=found.id,
        type=found.type,
        text=found.text,
        moment=found.moment,
        match=match_of(found.match),
        link=found.link,
    )


def _written(catalog: Catalog) -> set[str]:
    """Silences that stand in the catalog."""
    return {s.id for s in catalog.silences} | {m.id for m in catalog.maintenance}


def _valid(model: type[Model], fields: Mapping[str, Any], subject: str) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise CommandRefused("\n".join(f"{subject}: {_said(e)}" for e in error.errors())) from error


def _said(error: Any) -> str:
    """What is wrong with a field, and what to do."""
    where, value = ".".join(str(k) for k in error["loc"] if k != "match"), error.get("input")
    match error["type"]:
        case "value_error":
            said = re.sub(r"^(silences|exceptions) \S+: ", "", str(error["msg"]).removeprefix("Value error, "))
            return said if not where or said.startswith(where) else f"{where}: {said}"
        case "missing":
            return f"{where} is missing; add it"
        case "extra_forbidden":
            return f"{where} is no field of it; leave it out"
        case "timezone_aware":
            return f"{where} {value} has no zone; write {value}Z for UTC"
        case "string_pattern_mismatch":
            return f"{where} is {value!r}; write small letters, digits and -, beginning with one of the first two"
        case "datetime_from_date_parsing" | "datetime_parsing":
            return f"{where} is {value!r}; write a day or a time, such as 2026-12-01 or 2026-12-01T12:00:00Z"
        case "literal_error":
            return f"{where} is {value!r}; write {error['ctx']['expected']}"
    return f"{where} is {value!r}: {str(error['msg']).lower()}; mend it"
