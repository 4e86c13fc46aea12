"""Changes of a verdict as records for whoever enforces them and whoever asks why, each with a text for the user concerned."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from streams.catalog.limits import Budget, RunLimits
from streams.watch.alerts import instant, text
from streams.watch.budgets import GUARD
from streams.watch.scopes import dimensions_of
from streams.watch.verdicts import Standing, amount_text
from streams.watch.watched import PERIOD, Watched

TENANT = "tenant_id"
USED = {
    "iterations": "{} made, the limit is {}",
    "tool_calls": "{} made, the limit is {}",
    "retries": "{} made, the limit is {}",
    "elapsed": "running for {}, the limit is {}",
    "repeats": "one tool was called {} with the same arguments, the limit is {}",
    GUARD: "{} have no price, so that what they cost is not known; {} are allowed",
}  # how it is said that a limit is near or reached, by its name
NAMES = {"iterations": "AI requests", "repeats": "times", "unpriced_tokens": "tokens"}  # of units, for users
UNTIL = {
    "calendar": "until its period ends or the limit is raised",
    "rolling": "until earlier use is out of the window or the limit is raised",
    "lifetime": "in it",
}  # how long a stop holds, by the kind of its window


class Enforced(msgspec.Struct, frozen=True, array_like=True):
    """The verdict of a scope as it was last told, and how often that changed; a scope begins with `allow`."""

    verdict: str = "allow"
    changes: int = 0


def enforce(
    before: Enforced,
    known: Watched,
    key: str,
    standing: Standing | None,
    clock: int,
    detected: int,
    exception: str | None = None,
    identity: str | None = None,
) -> tuple[Enforced, dict[str, Any] | None]:
    """What is told now, and the record on usage.enforcements of the change, if there is one.

    standing: None = nothing is capped any more, or the scope is gone
    detected: the broker's append time (ms) of what caused it
    identity: what the id is made of; None: the key
    """
    verdict = standing.verdict if standing else "allow"
    if verdict == before.verdict:
        return before, None
    number, dimensions = before.changes + 1, dimensions_of(key)
    unit = standing.unit if standing else None
    return Enforced(verdict, number), {
        "enforcement_id": enforcement_id(identity or key, number, clock),
        "scope": key,
        "tenant_id": dimensions[TENANT],
        "budget_id": known.id,
        "kind": known.kind,
        "dimensions": dimensions,
        "verdict": verdict,
        "previous": before.verdict,
        "stop_reason": standing.binding if standing and verdict != "allow" else None,
        "limit": text(standing.limit) if standing and standing.limit is not None else None,
        "value": text(standing.used) if standing else None,
        "unit": unit,
        "currency": known.currency if unit == "cost" else None,
        "at": instant(clock),
        "detected_at": instant(detected),
        "text": user_text(known, key, standing),
        "exception": exception,
    }


def enforcement_id(identity: str, number: int, clock: int) -> str:
    """24 hex digits that every replay finds again. The clock is in it, since a scope that was forgotten counts from 1 again."""
    return hashlib.sha256(f"{identity}\n{number}\n{clock}".encode()).hexdigest()[:24]


def user_text(known: Watched, key: str, standing: Standing | None) -> str:
    """What the user concerned reads: people's own words for what holds them up, else one plain sentence."""
    who = scope_text(key)
    if standing is None or standing.verdict == "allow":
        return f"{who}: within limits again; requests are answered as usual."
    own = known.rule.text if isinstance(known.rule, Budget | RunLimits) else ""
    if own:
        return own
    said = _stopped_by(standing, known.currency)
    match standing.verdict:
        case "warn":
            return f"{who}: {said}. Requests are still answered."
        case "require_approval":
            return f"{who}: {said}. More needs an approval."
    return f"{who}: {said}. No more requests are answered {UNTIL[known.window(PERIOD).kind]}."


def _stopped_by(standing: Standing, currency: str) -> str:
    unit = NAMES.get(standing.unit, standing.unit)
    amounts = (amount_text(amount, unit, currency) for amount in (standing.used, standing.limit or Decimal(0)))
    return USED.get(standing.binding, "{} used, the limit is {}").format(*amounts)


def scope_text(key: str) -> str:
    """A scope for people: `team search`, `run r-1`; the tenant where nothing else is told apart."""
    named = {name: value for name, value in dimensions_of(key).items() if name != TENANT}
    return _named(named or {TENANT: dimensions_of(key)[TENANT]})


def _named(dimensions: Mapping[str, str]) -> str:
    return ", ".join(f"{name.removesuffix('_id').replace('_', ' ')} {value}" for name, value in dimensions.items())
