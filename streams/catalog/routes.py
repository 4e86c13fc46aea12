"""Where alerts go, as people write it: endpoints, routes with their escalations, weekly digests. Never a secret itself.

A secret is named, `env:NAME` or `file:/path`; only who sends reads it. Incoming webhooks of Slack and Teams are secrets whole.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from streams.catalog.alerting import Matcher, Weekday
from streams.catalog.decided import Decided
from streams.catalog.dimensions import DIMENSIONS
from streams.catalog.durations import Duration
from streams.catalog.limits import Id
from streams.catalog.prices import zone
from streams.catalog.registries import is_attribute

Channel = Literal["slack_webhook", "slack_bot", "webhook", "pagerduty", "alertmanager", "teams", "email", "topic"]
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:/[^\0\n]{1,1023}")
SERVER = re.compile(r"[A-Za-z0-9_.-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")
LIKE_A_SECRET = re.compile(
    r"whs[ek]c?_|xox[a-z]-|xapp-|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20}|eyJ[\w-]+\.[\w-]+\.|-----BEGIN"
    r"|hooks\.slack\.com/|discord(app)?\.com/api/webhooks/|webhook\.office\.com/"
    r"|[?&](sig|signature|token|key|secret|password|code|api_?key|access_token)=|//[^/@\s]*:[^/@\s]*@"
    r"|(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{24,}",  # no word of a person has so many letters and digits in a row
    re.IGNORECASE,
)
GROUP_KEYS = ("tenant_id", "budget_id", "owner", "accountable", "severity", "kind", "scope", "threshold", "alert_id")
NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # kind -> keys that it must have, that it may have
    "slack_webhook": (("url",), ()),
    "slack_bot": (("secrets", "channel"), ("url",)),
    "webhook": (("url", "secrets"), ()),
    "pagerduty": (("secrets",), ("url",)),
    "alertmanager": (("url",), ("secrets",)),
    "teams": (("url",), ()),
    "email": (("server", "sender", "to"), ("secrets", "user", "tls")),
    "topic": ((), ("topic",)),
}
OPTIONAL = {key for needs in NEEDS.values() for keys in needs for key in keys}
SECRET_URLS = ("slack_webhook", "teams")
NO_DIGESTS = ("pagerduty", "alertmanager")  # who is paged must do something now


def _reference(value: str) -> str:
    if not REFERENCE.fullmatch(value):
        raise ValueError("secrets name where each is kept, never what it is; write env:NAME or file:/path")
    return value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Reference = Annotated[str, AfterValidator(_reference)]


class Endpoint(Decided):
    """One place to which messages go. `secrets` are references, by kind:

    webhook: what signs, `whsec_…`; several while they are rotated · slack_bot: the bot's token · pagerduty: the routing key
    alertmanager: a bearer token, if it wants one · email: the password of `user`
    """

    id: Id
    kind: Channel
    url: str = ""
    secrets: Annotated[tuple[Reference, ...], BeforeValidator(_listed)] = ()
    channel: str = Field("", max_length=80)
    server: str = ""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    sender: str = ""
    to: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    topic: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,249}$")

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, given: Any) -> Any:
        """First of all, since every other complaint would show the value."""
        for key, value in given.items() if isinstance(given, dict) else ():
            for text in (v for v in (value if isinstance(value, list | tuple) else (value,)) if isinstance(v, str)):
                if key == "secrets" and not REFERENCE.fullmatch(text):
                    _reference(text)
                if LIKE_A_SECRET.search(text) and not REFERENCE.fullmatch(text):
                    raise ValueError(f"{key} looks like a secret; put it elsewhere and write env:NAME or file:/path")
        return given

    @model_validator(mode="after")
    def _holds(self) -> "Endpoint":
        must, may = NEEDS[self.kind]
        for key in must:
            if not getattr(self, key):
                raise ValueError(f"{key} is missing; an endpoint of kind {self.kind} needs it")
        for key in sorted(OPTIONAL - {*must, *may}):
            if getattr(self, key) == type(self).model_fields[key].default:
                continue
            raise ValueError(f"{key} is no key of kind {self.kind}; leave it out")
        if self.url and not REFERENCE.fullmatch(self.url):
            if self.kind in SECRET_URLS:
                raise ValueError(f"url of a {self.kind} is a secret; write env:NAME or file:/path")
            there = urlsplit(self.url)
            if there.scheme not in ("http", "https") or not there.hostname:
                raise ValueError(f"url is {self.url!r}; write https://HOST/PATH, env:NAME or file:/path")
        if self.kind != "webhook" and len(self.secrets) > 1:
            raise ValueError(f"secrets are {len(self.secrets)}; an endpoint of kind {self.kind} has one")
        if self.server and not SERVER.fullmatch(self.server):
            raise ValueError("server is no HOST:PORT; write it as mail.acme.example:587, the user under user")
        for address in (a for a in (self.sender, *self.to) if a):
            if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", address):
                raise ValueError(f"{'sender' if address == self.sender else 'to'}: {address!r} is no mail address")
        return self


def _grouped(name: str) -> str:
    if name not in GROUP_KEYS and name not in DIMENSIONS and not is_attribute(name):
        raise ValueError(f"group_by: {name} is nothing to group by; take one of {', '.join(GROUP_KEYS)} or a dimension")
    return name


class Escalation(Decided):
    """Whom to tell when nobody acknowledged for so long."""

    after: Duration
    endpoints: tuple[Id, ...] = Field(min_length=1)


class Route(Decided):
    """Which alerts go where. Routes are tried in their order; the first that matches is the last, unless it goes `further`.

    conditions: names of what crossed, as the alert's `threshold` has them: `1`, `1h/5m`, `repeats`; none = every one
    hand_off:   who takes over from the machine and what they have to decide; stands on every message of this route
    """

    id: Id
    match: Matcher = Matcher()
    conditions: tuple[str, ...] = ()
    endpoints: tuple[Id, ...] = Field(min_length=1)
    group_by: tuple[Annotated[str, AfterValidator(_grouped)], ...] = ("tenant_id", "budget_id")
    group_wait: Duration = 10_000
    resolved: bool = True
    further: bool = False
    escalate: tuple[Escalation, ...] = ()
    hand_off: str = Field("", max_length=512)

    @model_validator(mode="after")
    def _holds(self) -> "Route":
        afters = [e.after for e in self.escalate]
        if afters != sorted(set(afters)) or 0 in afters:
            raise ValueError("escalate must rise; order its steps by after, each above 0")
        if self.group_wait > 3_600_000:
            raise ValueError("group_wait is above 1h; nobody is told for that long, write less")
        return self


class Digest(Decided):
    """What each owner spent last week, against the week before; sent once a week and owner, at an hour of their zone."""

    id: Id
    owners: tuple[str, ...] = ()  # none = every owner of a budget
    tenant: str = "*"
    endpoints: tuple[Id, ...] = Field(min_length=1)
    day: Weekday = "mon"
    hour: int = Field(8, ge=0, le=23)
    zone: str = "UTC"

    @model_validator(mode="after")
    def _zone_exists(self) -> "Digest":
        zone(self.zone)
        return self


def route_problems(endpoints: Sequence[Endpoint], routes: Sequence[Route], digests: Sequence[Digest]) -> list[str]:
    """Endpoints that nobody described, ids used twice."""
    found = [
        f"{section} {double}: the id is used {n} times; rename one"
        for section, entries in (("endpoints", endpoints), ("routes", routes), ("digests", digests))
        for double, n in Counter(entry.id for entry in entries).items()
        if n > 1
    ]
    kinds = {e.id: e.kind for e in endpoints}
    named = [
        (f"routes {r.id}", e) for r in routes for e in (*r.endpoints, *(e for s in r.escalate for e in s.endpoints))
    ]
    named += [(f"digests {d.id}", e) for d in digests for e in d.endpoints]
    found += [f"{who}: endpoint {e} is not there; add it under [[endpoints]]" for who, e in named if e not in kinds]
    found += [
        f"digests {d.id}: endpoint {e} is a {kinds[e]}, which pages; take another"
        for d in digests
        for e in d.endpoints
        if kinds.get(e) in NO_DIGESTS
    ]
    return found


def matches(match: Matcher, record: Mapping[str, Any]) -> bool:
    """Whether an alert (a record of usage.alerts) is meant."""
    dimensions = {"tenant_id": record.get("tenant_id"), **(record.get("dimensions") or {})}
    return (
        (not match.rules or record.get("budget_id") in match.rules)
        and (not match.kinds or record.get("kind") in match.kinds)
        and (not match.severities or record.get("severity") in match.severities)
        and (not match.owners or record.get("owner") in match.owners)
        and match.tenant in ("*", record.get("tenant_id"))
        and all(dimensions.get(name) == value for name, value in match.where.items())
    )


def matching(record: Mapping[str, Any], routes: Sequence[Route]) -> Iterator[Route]:
    """The routes that an alert takes, in their order."""
    for one in routes:
        if matches(one.match, record) and (not one.conditions or record.get("threshold") in one.conditions):
            yield one
            if not one.further:
                return


class _WithRoutes(Protocol):
    @property
    def routes(self) -> Sequence[Route]: ...


def escalations_of(catalog: _WithRoutes, record: Mapping[str, Any]) -> tuple[int, ...]:
    """After how long (ms since it fired, nobody having acknowledged) an alert escalates: to 1, 2, ... of its record.

    One list for all routes that it takes, so that its state machine needs to know nothing of routes.
    """
    return _delays(matching(record, catalog.routes))


def _delays(routes: Iterable[Route]) -> tuple[int, ...]:
    return tuple(sorted({step.after for one in routes for step in one.escalate}))


def route(record: Mapping[str, Any], routes: Sequence[Route]) -> list[tuple[Route, tuple[str, ...]]]:
    """Where a record goes by its state: the routes that it takes, each with its endpoints (ids), none twice.

    An escalation goes to those of its step alone; whatever follows goes to everybody who may have been told.
    """
    taken = list(matching(record, routes))
    step, delays = int(record.get("escalation") or 0), _delays(taken)
    until = delays[min(step, len(delays)) - 1] if step and delays else 0
    said, found = set[str](), list[tuple[Route, tuple[str, ...]]]()
    for one in taken:
        escalated = [e for s in one.escalate if s.after <= until for e in s.endpoints]
        if record.get("reason") == "escalated":
            wanted = [e for s in one.escalate if s.after == until for e in s.endpoints]
        else:
            wanted = [*one.endpoints, *escalated]
        fresh = tuple(e for e in dict.fromkeys(wanted) if e not in said)
        said.update(fresh)
        if fresh:
            found.append((one, fresh))
    return found
