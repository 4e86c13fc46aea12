"""Limits as people write them: budgets, burn rates, limits of runs, and the exceptions from them."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationInfo, model_validator

from streams.catalog.calendars import Calendar
from streams.catalog.decided import Decided, is_published
from streams.catalog.dimensions import Dimension
from streams.catalog.durations import Duration
from streams.catalog.money import Currency, Money

Id = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
Severity = Literal["info", "warning", "critical"]
Step = Literal["report", "warn", "require_approval", "stop"]
Unit = Literal["cost", "tokens", "events", "unpriced", "retries", "tool_calls", "errors"]
Size = Literal["1m", "5m", "30m", "1h", "6h", "24h", "3d", "7d"]


# Further no zone can carry a moment over.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _moment(value: Any) -> Any:
    """A bare date is its first moment in UTC; a number is none, although it could be seconds since 1970."""
    if isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError(f"{value!r} is no moment; write 2026-12-31 or 2026-12-31T18:00:00Z")
    bare = isinstance(value, date) and not isinstance(value, datetime)
    if isinstance(value, str) and len(value) == 10:
        return f"{value}T00:00:00Z"
    return datetime.combine(value, time(), UTC) if bare else value


def _in_reach(moment: datetime, info: ValidationInfo) -> datetime:
    if not (FIRST <= moment < LAST or is_published(info)):
        raise ValueError(
            f"{moment.isoformat()}: write a moment from {FIRST:%Y} on and before {LAST:%Y}, with the zone of it"
        )
    return moment


def _once(each: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    return tuple(dict.fromkeys(each))


Each = Annotated[tuple[Dimension, ...], AfterValidator(_once)]  # a scope's key names each dimension once
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_in_reach)]


class Rolling(Decided):
    """The last `size` before any moment, moving on by a hop that the size fixes (watch/periods.py)."""

    kind: Literal["rolling"] = "rolling"
    size: Size


class Lifetime(Decided):
    """From a scope's first event to its last: a run, a conversation. It ends when nothing came for `idle`."""

    kind: Literal["lifetime"] = "lifetime"
    idle: Duration = 86_400_000


class Rung(Decided):
    """A step of the ladder and the moment from which it holds."""

    step: Step
    since: Moment


class Split(Decided):
    """Shares of a limit by a dimension, say the consumers of a shared agent; `*` is one share for all others together."""

    by: Dimension
    shares: dict[str, Money] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds(self) -> "Split":
        if not all(self.shares.values()) or sum(self.shares.values()) > 1:
            raise ValueError(
                f"shares: sum to {sum(self.shares.values())}; each is above 0, together they are 1 at most"
            )
        return self


class Paged(Decided):
    """What every watched thing says about its alerts."""

    owner: str = ""
    accountable: str = ""
    severity: Severity = "warning"
    pending: Duration = 0  # so long must it be over before it fires
    resolve_after: Duration = 0  # so long must it be clear before it resolves
    hysteresis: Money = Decimal(0)  # clear only below (1 - hysteresis) x threshold
    renotify: Duration | None = None  # told again after so long, unless somebody acknowledged
    runbook: str = Field("", max_length=512)  # a link for whoever is paged
    contributors: tuple[Dimension, ...] = ("model", "workload_id", "user_id")  # by which its alerts name the causes

    @model_validator(mode="after")
    def _pages(self) -> "Paged":
        if self.hysteresis >= 1:
            raise ValueError(f"hysteresis is {self.hysteresis}; give a share below 1, such as 0.05")
        return self


class Budget(Paged):
    """A limit for each scope in each period; `tenant` "*" means each tenant. Without `limit` it discovers: it caps nothing."""

    id: Id
    tenant: str = "*"
    where: dict[Dimension, str] = Field(default_factory=dict)
    each: Each = ()
    unit: Unit = "cost"  # unpriced: events without a price in force
    buckets: tuple[str, ...] = ()  # of tokens only: which count, such as ["output_*"]; none = all
    currency: Currency = "USD"
    limit: Money | None = None
    period: Annotated[Calendar | Rolling | Lifetime, Field(discriminator="kind")]
    thresholds: tuple[Money, ...] = (Decimal("0.8"), Decimal(1))
    ladder: tuple[Rung, ...] = ()  # none = stop at the limit; before the first rung it reports
    parent: Id | None = None  # a child cannot spend what its parent lacks
    split: Split | None = None
    guard_tokens: int | None = Field(
        None, gt=0, strict=True
    )  # so many tokens without a price in a period count as the limit reached
    fail: Literal["open", "closed"] = "open"  # what a check says when nothing fresh is known
    stale_after: Duration = 60_000  # how old a check's knowledge may be
    measures: tuple[str, ...] = ()  # what else to count: buckets (globs), retries, tool_calls, errors, latency_ms, ...
    forecast: bool = True
    text: str = Field("", max_length=512)  # what a user is told when the verdict changes

    @model_validator(mode="after")
    def _holds(self) -> "Budget":
        if self.limit == 0:
            raise ValueError(f"budget {self.id}: limit is 0; give a positive decimal string, or none to discover")
        if (
            not self.thresholds
            or any(t == 0 for t in self.thresholds)
            or list(self.thresholds) != sorted(self.thresholds)
        ):
            raise ValueError(f"budget {self.id}: thresholds must rise and be above 0")
        if [r.since for r in self.ladder] != sorted({r.since for r in self.ladder}):
            raise ValueError(f"budget {self.id}: ladder must rise in time; order its rungs by since")
        if self.buckets and self.unit != "tokens":
            raise ValueError(
                f'budget {self.id}: buckets belong to unit tokens; write unit = "tokens", or leave them out'
            )
        if self.split and (self.split.by in self.each or self.split.by in self.where or self.limit is None):
            raise ValueError(f"budget {self.id}: split needs a limit and a dimension that is not in each or where")
        return self


class BurnWindow(Decided):
    """Two windows that must both burn too fast: `share` of the budget within `long` is the threshold (SRE Workbook, ch. 5).

    against: `period` compares with an even use of the whole budget; `remaining` with an even use of what is left (domain.md §5)
    """

    long: Size
    short: Size
    share: Money | None = None
    factor: Money | None = None  # instead of a share: times the even speed
    against: Literal["period", "remaining"] = "period"
    severity: Severity = "critical"

    @model_validator(mode="after")
    def _one(self) -> "BurnWindow":
        if (self.share is None) == (self.factor is None) or self.share == 0 or self.factor == 0:
            raise ValueError('give either share, such as "0.02", or factor, such as "1.1"; above 0')
        return self


SRE = (
    BurnWindow(long="1h", short="5m", share=Decimal("0.02")),
    BurnWindow(long="6h", short="30m", share=Decimal("0.05")),
    BurnWindow(long="3d", short="6h", factor=Decimal("1.1"), against="remaining", severity="warning"),
)


class BurnRate(Paged):
    """Alerts when a budget is spent too fast, long before it is spent."""

    id: Id
    budget: Id
    windows: tuple[BurnWindow, ...] = Field(SRE, min_length=1)
    min_spend: Money = Decimal(0)  # in the budget's unit, in the long window: below it nobody is paged
    min_events: int = Field(10, ge=1)


class RunLimits(Paged):
    """What one run of an agent may use; whatever is reached first stops it."""

    id: Id
    tenant: str = "*"
    where: dict[Dimension, str] = Field(default_factory=dict)
    each: Each = ("run_id",)
    idle: Duration = 3_600_000
    iterations: int | None = Field(None, gt=0)  # AI requests
    tool_calls: int | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)
    retries: int | None = Field(None, gt=0)
    elapsed: Duration | None = None
    cost: Money | None = None
    currency: Currency = "USD"
    repeats: int | None = Field(None, gt=1)  # of the same tool with the same arguments: a loop
    warn_at: Money = Decimal("0.8")
    step: Step = "stop"
    fail: Literal["open", "closed"] = "open"
    stale_after: Duration = 60_000
    text: str = Field("", max_length=512)
    severity: Severity = "critical"

    @model_validator(mode="after")
    def _holds(self) -> "RunLimits":
        limits = (self.iterations, self.tool_calls, self.tokens, self.retries, self.elapsed, self.cost, self.repeats)
        if all(limit is None for limit in limits):
            raise ValueError(
                f"runs {self.id}: has no limit; give one of iterations, tool_calls, tokens, cost, repeats, ..."
            )
        if not self.each:
            raise ValueError(f"runs {self.id}: each is empty; name what a run is, such as run_id")
        return self


class Exemption(Decided):
    """An exception from a budget: who may spend how much more, why, until when; it ends by itself."""

    id: Id
    budget: Id
    tenant: str
    where: dict[Dimension, str] = Field(default_factory=dict)  # the scope's values of `each`
    extra: Money  # added to the limit
    justification: str = Field(min_length=1, max_length=1024)
    workload_class: str = ""
    tier: str = ""
    requested_by: str = ""
    approver: str = Field(min_length=1)
    starts: Moment
    expires: Moment
    reason_ends: Moment | None = None  # when the business reason is over; open past it is an alert
    review: Moment | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Exemption":
        if self.expires <= self.starts or self.extra == 0:
            raise ValueError(f"exceptions {self.id}: expires after it starts, and extra is above 0; mend it")
        return self
