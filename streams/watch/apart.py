"""Alerts that no window of usage is about: the catalog grew old, a vendor changed a price, an exception outlived its reason.

They are conditions for the same state machine. Of the catalog's they belong to no tenant: `tenant_id` is "*". The partition
that a key falls to raises them, on the watch's clock, so that no schedule is needed and a replay raises the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from streams.catalog.alerting import Rule
from streams.catalog.changes import Change, changes
from streams.catalog.models import Catalog
from streams.watch.alert_records import About, alert_record
from streams.watch.alerts import Cause
from streams.watch.conditions import Condition
from streams.watch.exceptions import grant_field, overdue, overdue_scopes
from streams.watch.look import Decisions
from streams.watch.machine import Why, advance, close
from streams.watch.raised import Raised
from streams.watch.scopes import dimensions_of, key_of, rule_of
from streams.watch.silences import Subject

EVERYBODY = "*"
DAY_MS = 86_400_000
TOLD_MS = 7 * DAY_MS  # how long a vendor's change of a price stays an open alert, unless somebody acknowledges it

Apart = dict[str, dict[str, Raised]]  # scope key -> its alerts by id


class Topic(NamedTuple):
    """What one key is about, as it stands."""

    rule: Rule
    conditions: list[Condition]
    more: dict[str, Any]


def age(rule: Rule, published_ms: int, clock: int) -> Condition:
    """Whether the newest version of the catalog, published then, is older than the rule allows."""
    days, allowed = Decimal(max(clock - published_ms, 0) // DAY_MS), rule.days or 0
    since = datetime.fromtimestamp(published_ms / 1000, UTC)
    over = clock > published_ms + allowed * DAY_MS
    said = f"no catalog since {since:%Y-%m-%d}, {allowed} days are allowed; run `usage-streams catalog update`"
    return Condition("1", None, clock, over, not over, days, Decimal(allowed), "days", rule.severity, False, said)


def price_changes(old: Catalog, new: Catalog, sequence: int, published_ms: int) -> dict[str, Condition]:
    """One condition for each rule and model whose base price changed by enough in this version, with its largest change."""
    rules = [r for r in new.rules if r.kind == "price_change"]
    if not rules:
        return {}
    at = datetime.fromtimestamp(published_ms / 1000, UTC)
    largest, counts = dict[tuple[str, str], Change](), defaultdict[tuple[str, str], int](int)
    for change in changes(_base(old), _base(new), at):  # the largest comes first
        if change.relative:
            largest.setdefault((change.provider, change.model), change)
            counts[change.provider, change.model] += 1
    found = {}
    for rule in rules:
        for (provider, model), change in largest.items():
            percent, least = (change.relative or Decimal(0)) * 100, rule.percent or Decimal(0)
            if abs(percent) < least:
                continue
            others = f" and {counts[provider, model] - 1} more" if counts[provider, model] > 1 else ""
            said = f"{change.bucket} {percent:+.1f} %{others}, catalog version {sequence}"
            key = key_of(rule.id, EVERYBODY, (("provider", provider), ("model", model)))
            found[key] = Condition(
                "price_change", published_ms, published_ms + TOLD_MS, True, False, abs(percent), least, "percent",
                rule.severity, True, said,
            )  # fmt: skip
    return found


def _base(catalog: Catalog) -> Catalog:
    return Catalog(prices=tuple(p for p in catalog.prices if p.origin == "base"))


def look_apart(
    decided: Decisions,
    having: Callable[[str], Decisions],
    apart: Apart,
    ours: Callable[[str], bool],
    published_ms: int,
    cause: Cause,
    why: Why,
    moved: Iterable[tuple[str, Condition]] = (),
) -> list[dict[str, Any]]:
    """Records of what changes; `apart` is brought up to date.

    having:       what was decided when a rule was last there
    ours:         whether a key is this partition's
    published_ms: when the newest version was
    moved:        prices that changed with the version adopted now
    """
    topics = dict(_topics(decided, apart, published_ms, cause.clock, dict(moved)))
    found = list[dict[str, Any]]()
    for key in sorted({*apart, *topics}):
        if not ours(key):
            continue
        raised, topic = apart.setdefault(key, {}), topics.get(key)
        about = about_apart(having(rule_of(key)), key)
        if topic is None:
            transitions = close(raised, cause.clock)
        else:
            subject = Subject(about.kind, about.rule, about.tenant, about.owner, about.dimensions)
            delays = partial(decided.escalate_after, about)
            transitions = advance(
                raised,
                topic.conditions,
                cause.clock,
                topic.rule,
                decided.identity(key),
                delays,
                why=why,
                hush=decided.silences.of(subject, cause.clock),
                quiet=decided.silences.quiet(subject, cause.clock),
            )
        found += [alert_record(about, t, cause, more=topic.more if topic else None) for t in transitions]
        if not raised:
            del apart[key]
    return found


def _topics(
    decided: Decisions, apart: Apart, published_ms: int, clock: int, moved: dict[str, Condition]
) -> Iterator[tuple[str, Topic]]:
    rules = decided.catalog.rules
    for rule in (r for r in rules if r.kind == "catalog_age"):
        yield key_of(rule.id, EVERYBODY, ()), Topic(rule, [age(rule, published_ms, clock)], {})
    for key, (rule, grant) in overdue_scopes(rules, decided.grants).items():
        yield key, Topic(rule, overdue(rule, grant, clock), {"exception": grant_field(grant)})
    for rule in (r for r in rules if r.kind == "price_change"):
        keys = {k for k in (*apart, *moved) if rule_of(k) == rule.id}
        for key in keys:
            held = [_again(r) for r in apart.get(key, {}).values() if r.is_open]
            yield key, Topic(rule, [*held, *([moved[key]] if key in moved else [])], {})


def _again(known: Raised) -> Condition:
    """A change of a price does not go away: it is as it was until its time is over."""
    return Condition(
        known.name, known.start, known.end, True, False, known.value, known.limit, known.unit, known.severity, True
    )


def about_apart(decided: Decisions, key: str) -> About:
    """What an alert is about that belongs to no window."""
    dims, rule = dimensions_of(key), next((r for r in decided.catalog.rules if r.id == rule_of(key)), None)
    tenant = decided.tenants.get(dims["tenant_id"])
    return About(
        kind=rule.kind if rule else "",
        rule=rule_of(key),
        tenant=dims["tenant_id"],
        scope=key,
        dimensions=dims,
        owner=rule.owner if rule else "",
        accountable=(rule.accountable if rule else "") or (tenant.accountable if tenant else ""),
        runbook=rule.runbook if rule else "",
    )
