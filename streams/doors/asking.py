"""`/v1/check`: a question in query parameters or in a body, answered by watch/check.py, cut down to what the asker may see."""

import time
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from urllib.parse import parse_qsl

import msgspec
from pydantic import Field, TypeAdapter, ValidationError

from streams import metrics
from streams.catalog.decided import Decided
from streams.catalog.dimensions import DIMENSIONS
from streams.catalog.limits import Unit
from streams.catalog.money import Currency, Money
from streams.catalog.registries import is_attribute
from streams.doors.auth import Principal
from streams.doors.problems import Problem
from streams.doors.view import View
from streams.watch.check import Answer, CurrencyUnclear, Finding, Question, UnknownScope, check
from streams.watch.coverage import TENANT, ScopeUnreadable, parse_key
from streams.watch.lines import VERDICTS

OWN = ("scope", "tenant", "amount", "unit", "currency")  # parameters that are no dimension
NAMES = frozenset(DIMENSIONS)
MOST_SCOPES, MOST_QUESTIONS = 100, 1_000
ENCODE = msgspec.json.Encoder().encode
_COUNTS = {verdict: metrics.CHECKS.labels(verdict) for verdict in VERDICTS}


class Asked(Decided):
    """A question: dimensions of the request that is to come, or keys of scopes; and what it is intended to spend."""

    dimensions: dict[str, str] = Field(default_factory=dict, description="as the request's usage event will say them")
    scopes: tuple[str, ...] = Field((), max_length=MOST_SCOPES, description="keys of scopes, instead of dimensions")
    tenant: str | None = Field(None, description="short for the dimension tenant_id")
    amount: Money = Field(Decimal(0), description="what is intended to be spent: a decimal string")
    unit: Unit = Field("cost", description="of the amount")
    currency: Currency | None = Field(None, description="of the amount; needed where budgets have several")


_ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)


def asked_in(query: bytes) -> Asked:
    """The question in query parameters. Problem 400 names the parameter that is none of it."""
    dimensions, own, scopes = dict[str, str](), dict[str, str](), list[str]()
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError as error:
        raise Problem(400, f"query: {error}; write it as name=value&name=value, percent-encoded UTF-8") from error
    for name, value in pairs:
        if name == "scope":
            scopes.append(value)
        elif name in own or name in dimensions:
            raise Problem(400, f"parameter {name}: is given twice; give it once")
        elif name in OWN:
            own[name] = value
        else:
            dimensions[name] = value
    try:
        return _ASKED.validate_python({**own, "dimensions": dimensions, "scopes": tuple(scopes)})
    except ValidationError as error:
        first = error.errors()[0]
        name, said = str(first["loc"][0]), str(first["msg"])
        if first["type"] != "value_error":  # ours say it whole
            said = f"{said}, not {own.get(name, len(scopes))!r}; mend it"
        raise Problem(400, f"parameter {name}: {said.removeprefix('Value error, ')}") from error


def question_of(asked: Asked, principal: Principal) -> Question:
    """The same, confined to what a token is limited to. Problem 400 or 403."""
    dimensions = dict(asked.dimensions)
    if asked.tenant is not None and dimensions.setdefault(TENANT, asked.tenant) != asked.tenant:
        raise Problem(400, f"tenant {asked.tenant}: tenant_id says {dimensions[TENANT]}; give one of them")
    for name in dimensions:
        if name not in NAMES and not is_attribute(name):
            near = get_close_matches(name, [*DIMENSIONS, *OWN], 1)
            remedy = f"is it {near[0]}?" if near else "take one of an event's fields, or attributes.KEY"
            raise Problem(400, f"parameter {name}: is no dimension; {remedy}")
    if not asked.scopes:
        if not dimensions and not principal.is_limited:
            raise Problem(
                400, "question is empty; give tenant=... and what else the request's event will say, or scope=KEY"
            )
        dimensions = principal.confined(dimensions)
        if TENANT not in dimensions:
            raise Problem(400, "tenant is missing; add tenant=...")
    elif dimensions:
        raise Problem(400, "question has scopes and dimensions; give either")
    return Question(dimensions, tuple(asked.scopes), asked.amount, asked.unit, asked.currency)


def answer(view: View, question: Question, principal: Principal) -> Answer:
    """What may be spent. Problem 400, 403, 404, or 503 while nothing is known yet."""
    began = time.perf_counter()
    if view.waits_for or not view.sequence:
        raise Problem(503, "; ".join(view.reasons(0)), {"Retry-After": "2"})
    try:
        for scope in question.scopes if principal.is_limited else ():
            if not _is_own(scope, view, principal):
                raise Problem(403, f"scope {scope}: this token is for {principal.allowed()}; ask for that")
        found = check(view.coverage, view, question, view.now_ms())
    except UnknownScope as error:
        raise Problem(404, str(error)) from error
    except (ScopeUnreadable, CurrencyUnclear) as error:
        raise Problem(400, str(error)) from error
    _COUNTS[found.verdict].inc()
    metrics.CHECK_SECONDS.observe(time.perf_counter() - began)
    return _cut(found, view, principal) if principal.is_limited else found


def _is_own(scope: str, view: View, principal: Principal) -> bool:
    name, dims = parse_key(scope)
    cover = view.coverage.covers.get(name)
    known: Mapping[str, str] = {**dims, **dict(cover.where)} if cover else dims
    return principal.sees(dims[TENANT], known)


def _cut(found: Answer, view: View, principal: Principal) -> Answer:
    """Of scopes that are not the asker's own: the verdict, and what is left, which it must know to obey; no figures."""
    shown = [f if _is_own(f.scope, view, principal) else _veiled(f) for f in found.scopes]
    cut = msgspec.structs.replace(found, scopes=shown)
    if shown and shown[0] is not found.scopes[0]:
        first = shown[0]
        cut = msgspec.structs.replace(
            cut, limit=None, used=None, percent=None, forecast=None, exception=None, text=first.text, sources={}
        )
    return cut


def _veiled(f: Finding) -> Finding:
    return msgspec.structs.replace(
        f,
        limit=None,
        used=None,
        percent=None,
        forecast=None,
        exception=None,
        sources={},
        text=f"{f.scope}: {f.verdict}",
    )
