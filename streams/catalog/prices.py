"""The price book's entries: what one unit costs, for whom, when, in which tier, band, region and hours (domain.md §2).

An entry is one cell of a matrix. A cell that nobody wrote is unpriced: batch is not half of online, and a priority request is
not rated as a standard one, unless an entry says so.
"""

from datetime import UTC, date, time
from decimal import Decimal, localcontext
from difflib import get_close_matches
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, model_validator

from streams.catalog.decided import Decided
from streams.catalog.money import MAX_SCALE, MAX_UNIT_PRICE, Currency, Money, scale_of
from streams.tokens.dialects import BUCKETS

Name = Annotated[str, Field(min_length=1, max_length=256)]
Origin = Literal["own", "base"]  # base: came with the product, and moves by `catalog update` alone
# Units that no dialect counts and events bring as quantities of their own.
UNITS = {
    "requests", "images", "pages", "annotated_pages", "search_units", "classifications", "web_searches", "web_fetches",
    "storage_searches", "code_executions", "code_execution_ms", "session_ms", "audio_ms", "input_audio_ms", "video_ms",
    "input_characters", "input_messages", "cache_storage_token_hours", "training_tokens", "gpu_ms", "provisioned_unit_ms",
    "output_visible_video", "output_citation",
}  # fmt: skip
KNOWN_BUCKETS = BUCKETS | UNITS
MAX_RATE = 10**7  # the largest cost of an event, converted, must fit Decimal(38, 18), and so must a sum of some
TIMES = (3_600_000, 60_000, 1_000)  # ms: an hourly price has no exact price of a millisecond


def zone(name: str) -> str:
    """An IANA zone's name; ValueError with the remedy."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # `Europe` is a folder
        raise ValueError(f"zone {name}: unknown; write an IANA name such as Europe/Berlin") from error
    return name


class Dated(Decided):
    """In force in `[effective_from, effective_to)`."""

    effective_from: AwareDatetime
    effective_to: AwareDatetime | None = None

    @model_validator(mode="after")
    def _forward(self) -> "Dated":
        if self.effective_to is not None and self.effective_to <= self.effective_from:
            raise ValueError("effective_to is not after effective_from; an interval is [from, to)")
        return self


class Sold(Dated):
    """For whom and in which class of service an entry holds.

    region: as the event names it; a trailing * takes all that begin so; empty = every region without an entry of its own
    tenant, account: a contract's; empty = everybody
    """

    provider: Name
    model: Name
    service_tier: Name = "standard"
    processing: Literal["online", "batch"] = "online"
    speed: Name = "standard"
    region: str = ""
    tenant: str = ""
    account: str = ""

    @property
    def contract(self) -> bool:
        """Negotiated, so not a list price."""
        return bool(self.tenant or self.account)


class Price(Sold):
    """What `per` units of a bucket cost.

    context_from, context_to: holds for requests whose whole input (`context = "whole"`), or for the part of the bucket
                              (`"excess"`) that lies in [from, to) units; "more than 200,000" begins at 200,001
    schedule:                 id of the hours in which it holds; an entry without one holds in all others
    """

    bucket: Name
    unit_price: Money
    per: int = Field(1, ge=1, le=10**12)
    currency: Currency
    context_from: int = Field(0, ge=0)
    context_to: int | None = None
    context: Literal["whole", "excess"] = "whole"
    schedule: str = ""
    free: bool = False
    source: Name
    source_url: str = ""
    checked: date | None = None  # the day on which somebody read the source
    origin: Origin = "own"

    @property
    def each(self) -> Decimal:
        """The price of one unit, at 18 digits."""
        with localcontext(prec=60):
            return (self.unit_price / self.per).quantize(Decimal(1).scaleb(-MAX_SCALE))

    @property
    def cell(self) -> tuple[str | int, ...]:
        """Entries of the same cell must not overlap in time."""
        return (*self.where, self.context, self.context_from)

    @property
    def where(self) -> tuple[str, ...]:
        """The cell but for its context band."""
        return (
            self.provider, self.model, self.bucket, self.service_tier, self.processing, self.speed, self.region, self.tenant,
            self.account, self.schedule,
        )  # fmt: skip

    @property
    def price_id(self) -> str:
        """Stable name of this price: provider, model, bucket, then what is not the default, then since when."""
        marks = [
            *(v for v in (self.service_tier, self.speed) if v != "standard"),
            *(v for v in (self.processing,) if v != "online"),
            *(f"{k}={v}" for k in ("region", "tenant", "account", "schedule") if (v := getattr(self, k))),
        ]
        if self.context_from or self.context == "excess":
            marks.append(f"{self.context}>={self.context_from}")
        return (
            "/".join([self.provider, self.model, self.bucket, *marks])
            + f"@{self.effective_from.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )

    @model_validator(mode="after")
    def _holds(self) -> "Price":
        if self.bucket not in KNOWN_BUCKETS:
            near = get_close_matches(self.bucket, KNOWN_BUCKETS, 3) or sorted(KNOWN_BUCKETS)
            raise ValueError(f"bucket {self.bucket}: no usage has it; write one of {', '.join(near)}")
        with localcontext(prec=60):
            each = self.unit_price / self.per
        if self.per not in TIMES and scale_of(each) > MAX_SCALE:
            raise ValueError(
                f"unit_price {self.unit_price} per {self.per}: one unit needs more than {MAX_SCALE} digits"
            )
        if each >= MAX_UNIT_PRICE:
            raise ValueError(f"unit_price is {self.unit_price}; a price is for one unit, below {MAX_UNIT_PRICE:,}")
        if each and not self.each:
            raise ValueError(
                f"unit_price {self.unit_price} per {self.per}: one unit would cost 0 at {MAX_SCALE} digits"
            )
        if each == 0 and not self.free:
            raise ValueError('unit_price is 0; say free = true, or give a positive decimal string such as "0.0000025"')
        if self.context_to is not None and self.context_to <= self.context_from:
            raise ValueError("context_to is not above context_from; a band is [from, to)")
        return self


class Factor(Sold):
    """Multiplies prices: the entries of `applies_to` give prices of the class that this one names (domain.md §2).

    Order: base and band are entries; then class of service, then region, then contract. A factor makes prices only where no
    entry says the price itself.

    kind:   class = tier, processing or speed, from standard; region = an uplift; contract = a discount of a tenant or account
    model:  exact, or * for all of the provider
    buckets: those it holds for; empty = all
    """

    id: str = Field(pattern="^[a-z0-9][a-z0-9.-]*$")
    kind: Literal["class", "region", "contract"]
    multiplier: Money
    buckets: tuple[str, ...] = ()
    source: Name

    @model_validator(mode="after")
    def _holds(self) -> "Factor":
        if self.multiplier == 0:
            raise ValueError(f"factor {self.id}: multiplier is 0; a free price is an entry with free = true")
        if (self.kind == "region") != bool(self.region) and self.kind != "contract":
            raise ValueError(f"factor {self.id}: kind {self.kind} and region {self.region!r} do not fit")
        if (self.kind == "contract") != self.contract:
            raise ValueError(f"factor {self.id}: kind contract needs a tenant or an account, others have none")
        if unknown := sorted(set(self.buckets) - KNOWN_BUCKETS):
            raise ValueError(f"factor {self.id}: bucket {unknown[0]}: no usage has it")
        return self


class Hours(Decided):
    """From a time of day to another; an end at or before the start lies on the next day."""

    start: time
    end: time


class Schedule(Decided):
    """Hours of a zone in which some prices hold, such as a provider's peak; a holiday is a day without them."""

    id: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    zone: str = "UTC"
    hours: tuple[Hours, ...] = Field(min_length=1)
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = (1, 2, 3, 4, 5, 6, 7)  # ISO: 1 is Monday
    holidays: tuple[date, ...] = ()
    origin: Origin = "own"

    @model_validator(mode="after")
    def _zone_exists(self) -> "Schedule":
        zone(self.zone)
        return self


class Alias(Decided):
    """Another name under which a provider serves a model, while in force; a pattern is asked after every exact name."""

    provider: Name
    alias: Name
    model: Name
    match: Literal["exact", "prefix", "regex"] = "exact"
    effective_from: AwareDatetime | None = None
    effective_to: AwareDatetime | None = None
    origin: Origin = "own"


class Seller(Decided):
    """A provider's other names, and those whose prices it sells at where it has none of its own."""

    provider: Name
    names: tuple[Name, ...] = ()
    sells: tuple[Name, ...] = ()
    origin: Origin = "own"


class FxRate(Dated):
    """What one unit of a currency is worth in another, while in force."""

    base: Currency
    quote: Currency
    rate: Money
    source: Name

    @property
    def rate_id(self) -> str:
        """Stable name of this rate."""
        return f"{self.base}/{self.quote}@{self.effective_from.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    @model_validator(mode="after")
    def _holds(self) -> "FxRate":
        if self.rate == 0 or self.base == self.quote:
            raise ValueError(f"rate {self.base}/{self.quote} is {self.rate}; give what one {self.base} is worth")
        if self.rate >= MAX_RATE:
            raise ValueError(
                f"rate {self.base}/{self.quote} is {self.rate}; give it below {MAX_RATE:,}, in a larger unit"
            )
        return self
