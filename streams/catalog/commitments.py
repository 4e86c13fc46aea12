"""Agreements whose worth depends on how much was used: credit, promised spend, free units, volume discounts, own capacity.

None of them is on the event path: a price is for one event, these are for a period, so a second pass over stored usage counts
them (drawdown.py, capacity.py). Usage is counted by quarter hours, so an agreement begins and ends at a full one.
"""

from typing import Literal

from pydantic import Field, model_validator

from streams.catalog.calendars import Calendar
from streams.catalog.decided import Decided
from streams.catalog.money import Currency, Money, scale_of
from streams.catalog.prices import KNOWN_BUCKETS, Dated, Name
from streams.tokens.dialects import BUCKETS

QUARTER_SECONDS = 900


def _known(what: str, buckets: tuple[str, ...]) -> None:
    if unknown := sorted(set(buckets) - KNOWN_BUCKETS):
        raise ValueError(
            f"{what}: bucket {unknown[0]}: no usage has it; write one of {', '.join(sorted(KNOWN_BUCKETS))}"
        )


class Agreement(Dated):
    """An agreement with a provider, in force in `[effective_from, effective_to)`.

    tenant, account: whose usage it is about; empty = everybody's together
    """

    id: str = Field(pattern="^[a-z0-9][a-z0-9.-]*$")
    provider: Name
    tenant: str = ""
    account: str = ""
    source: Name

    @model_validator(mode="after")
    def _on_a_quarter(self) -> "Agreement":
        for name in ("effective_from", "effective_to"):
            moment = getattr(self, name)
            if moment is not None and moment.timestamp() % QUARTER_SECONDS:
                raise ValueError(f"{name} is {moment:%H:%M:%S.%f}; usage is counted by quarter hours, write a full one")
        return self


class Commitment(Agreement):
    """Money towards a provider: `prepaid` is credit that usage draws down, `commitment` is spend promised for each period.

    models: exact names as prices know them, or * for all. A first or last period that is cut short still has the whole amount.
    """

    kind: Literal["prepaid", "commitment"]
    models: tuple[Name, ...] = Field(("*",), min_length=1)
    amount: Money
    currency: Currency
    period: Calendar | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Commitment":
        if self.amount == 0:
            raise ValueError(f"commitment {self.id}: amount is 0; give a positive decimal string")
        if self.kind == "commitment" and self.period is None:
            raise ValueError(f'commitment {self.id}: has no period; write period = {{ every = "month" }}')
        if self.kind == "prepaid" and self.period is not None:
            raise ValueError(f"commitment {self.id}: prepaid credit has no period; it is used up once, leave it out")
        return self


class Quota(Agreement):
    """Units that cost nothing in each period: the first ones that are used. `model` may be *."""

    model: Name
    buckets: tuple[str, ...] = Field(min_length=1)
    amount: int = Field(gt=0, le=10**15, strict=True)
    period: Calendar

    @property
    def models(self) -> tuple[str, ...]:
        """As the other agreements name them."""
        return (self.model,)

    @model_validator(mode="after")
    def _holds(self) -> "Quota":
        _known(f"quota {self.id}", self.buckets)
        return self


class Tier(Decided):
    """What lies above so much volume costs `multiplier` times what was paid."""

    above: Money
    multiplier: Money


class Volume(Agreement):
    """A discount by the volume of a period.

    measure: spend in `currency`, or units; either way only usage that is priced in `currency` counts
    mode:    marginal = a tier's multiplier is for what lies above its threshold; cliff = the highest tier's is for everything
    """

    models: tuple[Name, ...] = Field(("*",), min_length=1)
    buckets: tuple[str, ...] = ()  # empty = all
    measure: Literal["spend", "units"]
    mode: Literal["marginal", "cliff"]
    currency: Currency
    tiers: tuple[Tier, ...] = Field(min_length=1)
    period: Calendar

    @model_validator(mode="after")
    def _holds(self) -> "Volume":
        _known(f"volume {self.id}", self.buckets)
        above = [t.above for t in self.tiers]
        if above != sorted(set(above)):
            raise ValueError(f"volume {self.id}: thresholds must rise; sort the tiers by above")
        if any(t.multiplier > 1 for t in self.tiers):
            raise ValueError(f"volume {self.id}: a multiplier above 1 is no discount; write a price for it")
        if self.measure == "units" and any(a % 1 for a in above):
            raise ValueError(f"volume {self.id}: a threshold of units is whole; write it without a fraction")
        return self


class Provisioned(Agreement):
    """Capacity that is paid by the hour, used or not; it serves requests whose service tier is `provisioned`.

    region:            as events name it; empty = all
    hourly_cost:       of one unit
    tokens_per_minute: what one unit can serve
    burndown:          how much of that a token of a bucket takes; 1 where it says nothing
    """

    model: Name
    region: str = ""
    units: int = Field(gt=0, le=10**6, strict=True)
    hourly_cost: Money
    currency: Currency
    tokens_per_minute: int = Field(gt=0, le=10**10, strict=True)
    burndown: dict[str, Money] = Field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """As the other agreements name them."""
        return (self.model,)

    @model_validator(mode="after")
    def _holds(self) -> "Provisioned":
        if self.hourly_cost == 0:
            raise ValueError(f"provisioned {self.id}: hourly_cost is 0; give a positive decimal string")
        if self.model == "*":
            raise ValueError(f"provisioned {self.id}: model is *; capacity is of one model, name it")
        for bucket, weight in self.burndown.items():
            if bucket not in BUCKETS:
                raise ValueError(
                    f"provisioned {self.id}: burndown of {bucket}: no tokens are counted there; leave it out"
                )
            if weight > 1000 or scale_of(weight) > 6:
                raise ValueError(
                    f"provisioned {self.id}: burndown of {bucket} is {weight}; at most 1000, 6 digits after the point"
                )
        return self


class Agreements(Decided):
    """The part of a catalog that is counted over periods."""

    commitments: tuple[Commitment, ...] = ()
    quotas: tuple[Quota, ...] = ()
    volumes: tuple[Volume, ...] = ()
    provisioned: tuple[Provisioned, ...] = ()

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """All of them."""
        return (*self.commitments, *self.quotas, *self.volumes, *self.provisioned)


def agreement_problems(found: Agreements) -> list[str]:
    """Capacity of one model and region is one entry at a time: its usage could not be told apart."""
    problems = list[str]()
    for i, a in enumerate(found.provisioned):
        for b in found.provisioned[i + 1 :]:
            same = (a.provider, a.model) == (b.provider, b.model) and (
                not a.region or not b.region or a.region == b.region
            )
            whose = all(not x or not y or x == y for x, y in ((a.tenant, b.tenant), (a.account, b.account)))
            ends_first = a.effective_to is not None and a.effective_to <= b.effective_from
            ends_last = b.effective_to is not None and b.effective_to <= a.effective_from
            if same and whose and not ends_first and not ends_last:
                problems.append(
                    f"provisioned {a.id}: overlaps {b.id}; end the first with effective_to and write the units of both"
                )
    return problems
