"""Alerts as people decide about them: rules beside budgets, who is meant, when to be silent."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streams.catalog.calendars import Calendar
from streams.catalog.decided import Decided
from streams.catalog.dimensions import Dimension
from streams.catalog.limits import Each, Id, Moment, Paged, Rolling, Severity
from streams.catalog.money import Money
from streams.catalog.prices import zone

Kind = Literal[
    "budget",
    "burn_rate",
    "run",
    "unpriced",
    "context",
    "policy",
    "low_usage",
    "exception_overdue",
    "catalog_age",
    "price_change",
]  # of alerts; those of budgets, burn rates and runs have sections of their own
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Rule(Paged):
    """An alert rule by kind.

    unpriced:          usage without a price in force
    context:           a call whose whole input is larger than `tokens`
    policy:            use of a model or workload that is not approved
    low_usage:         fewer events than `events` in a whole `period`: under-used
    exception_overdue: an exception is open past its business reason
    catalog_age:       no version of the catalog was published for `days`
    price_change:      `catalog update` takes a vendor's other price; `percent` of change at least
    """

    id: Id
    kind: Literal["unpriced", "context", "policy", "low_usage", "exception_overdue", "catalog_age", "price_change"]
    tenant: str = "*"
    where: dict[Dimension, str] = Field(default_factory=dict)
    each: Each | None = None  # None: what the kind uses by itself
    period: Annotated[Calendar | Rolling, Field(discriminator="kind")] | None = None
    tokens: int | None = Field(None, gt=0)
    events: int | None = Field(None, gt=0)
    days: int | None = Field(None, ge=1, le=3650)
    percent: Money | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Rule":
        wanted = {"tokens": "context", "events": "low_usage", "days": "catalog_age"}
        for key, kind in wanted.items():
            if (self.kind == kind) != (getattr(self, key) is not None):
                raise ValueError(f"rule {self.id}: {key} belong to {kind}, and only there; write {key} = 30")
        if self.percent is not None and self.kind != "price_change":
            raise ValueError(f"rule {self.id}: percent belongs to price_change; leave it out")
        return self


class Matcher(Decided):
    """Which alerts are meant; what is empty matches everything. `where` compares the scope's dimensions."""

    rules: tuple[Id, ...] = ()  # ids of budgets, burn rates, runs, rules
    kinds: tuple[Kind, ...] = ()
    severities: tuple[Severity, ...] = ()
    owners: tuple[str, ...] = ()
    tenant: str = "*"
    where: dict[Dimension, str] = Field(default_factory=dict)


class Silence(Decided):
    """Alerts that nobody is told of for a while; they are recorded all the same."""

    id: Id
    match: Matcher = Matcher()
    starts: Moment
    ends: Moment
    reason: str = Field(min_length=1, max_length=512)

    @model_validator(mode="after")
    def _holds(self) -> "Silence":
        if self.ends <= self.starts:
            raise ValueError(f"silences {self.id}: ends after it starts; mend ends")
        return self


class Maintenance(Decided):
    """A silence that comes again: `[start, end)` on these days, in local time; past midnight when end is before start."""

    id: Id
    match: Matcher = Matcher()
    days: tuple[Weekday, ...] = DAYS
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    zone: str = "UTC"
    reason: str = Field(min_length=1, max_length=512)

    @model_validator(mode="after")
    def _holds(self) -> "Maintenance":
        zone(self.zone)
        if self.start == self.end:
            raise ValueError(f"maintenance {self.id}: starts and ends at {self.start}; give it a length")
        return self
