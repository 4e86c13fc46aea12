"""What people decide, as models: prices, aliases, tenants, budgets, rules. Validated where it enters, then trusted."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from streams.catalog.decided import Decided
from streams.catalog.registries import Registries, is_attribute

MAX_SCALE = 18
MAX_UNIT_PRICE = 10**6  # so that a line of the largest quantity still fits Decimal(38, 18) (C6)


def _money(value: Any) -> Decimal:
    if isinstance(value, float):
        raise ValueError(f'money is a float: {value}; write it as a string, "{value}"')
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"money is {type(value).__name__}; write it as a string")
    try:
        amount = Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"money is {value!r}; write a decimal string") from error
    if not amount.is_finite() or amount < 0 or amount >= 10**15:
        raise ValueError(f"money is {value}; give a positive decimal string below 10^15")
    if -int(amount.as_tuple().exponent) > MAX_SCALE:
        raise ValueError(f"money is {value}; at most {MAX_SCALE} digits after the point are kept")
    return amount


def _unit_price(value: Any) -> Decimal:
    amount = _money(value)
    if amount >= MAX_UNIT_PRICE:
        raise ValueError(f"unit_price is {value}; a price is for one unit, below {MAX_UNIT_PRICE:,}")
    return amount


Money = Annotated[Decimal, BeforeValidator(_money)]
UnitPrice = Annotated[Decimal, BeforeValidator(_unit_price)]
DIMENSIONS = (
    "tenant_id", "provider", "model", "application", "environment", "team", "project", "cost_center", "use_case",
    "business_process", "request_type", "workload_id", "workload_class", "model_tier", "agent_id", "workflow_id", "run_id",
    "conversation_id", "session_id", "user_id", "user_role", "channel", "api_key_id", "account_id", "region",
    "business_owner", "technical_owner", "accountable", "archetype", "approval_status", "data_class",
)  # fmt: skip


def _dimension(name: str) -> str:
    if name not in DIMENSIONS and not is_attribute(name):
        raise ValueError(f"dimension {name}: there is none; take one of {', '.join(DIMENSIONS)} or attributes.KEY")
    return name


Dimension = Annotated[str, AfterValidator(_dimension)]


class Price(Decided):
    """The price of one bucket of one model while in force, `[effective_from, effective_to)`; per single unit."""

    provider: str
    model: str
    bucket: str
    unit_price: UnitPrice
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    effective_from: AwareDatetime
    effective_to: AwareDatetime | None = None
    free: bool = False
    source: str

    @property
    def price_id(self) -> str:
        """Stable name of this price."""
        return f"{self.provider}/{self.model}/{self.bucket}@{self.effective_from:%Y-%m-%dT%H:%M:%SZ}"

    @model_validator(mode="after")
    def _holds(self) -> "Price":
        if self.effective_to is not None and self.effective_to <= self.effective_from:
            raise ValueError("effective_to is not after effective_from; an interval is [from, to)")
        if self.unit_price == 0 and not self.free:
            raise ValueError('unit_price is 0; say free = true, or give a positive decimal string such as "0.0000025"')
        return self


class Alias(Decided):
    """Another name under which a provider serves a model, while in force."""

    provider: str
    alias: str
    model: str


class Tenant(Decided):
    """A company or unit that is metered, and who answers for its AI cost."""

    id: str = Field(min_length=1)
    name: str = ""
    accountable: str = ""


class Calendar(Decided):
    """A period of the calendar in an IANA zone."""

    kind: Literal["calendar"] = "calendar"
    every: Literal["hour", "day", "week", "month", "quarter"]
    zone: str = "UTC"
    week_start: Literal["monday", "sunday"] = "monday"

    @model_validator(mode="after")
    def _zone_exists(self) -> "Calendar":
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"zone {self.zone}: unknown; write an IANA name such as Europe/Berlin") from error
        return self


class Rolling(Decided):
    """The last `size` before any moment."""

    kind: Literal["rolling"] = "rolling"
    size: Literal["1m", "5m", "1h", "24h", "7d"]


class Budget(Decided):
    """A limit for each scope in each period; `tenant` "*" means each tenant."""

    id: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    tenant: str = "*"
    where: dict[Dimension, str] = Field(default_factory=dict)
    each: tuple[Dimension, ...] = ()
    unit: Literal["cost", "tokens", "events", "unpriced"] = "cost"  # unpriced: events without a price in force
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    limit: Money
    period: Annotated[Calendar | Rolling, Field(discriminator="kind")]
    thresholds: tuple[Money, ...] = (Decimal("0.8"), Decimal(1))
    owner: str = ""
    accountable: str = ""
    severity: Literal["info", "warning", "critical"] = "warning"

    @model_validator(mode="after")
    def _holds(self) -> "Budget":
        if self.limit == 0:
            raise ValueError(f"budget {self.id}: limit is 0; give a positive decimal string")
        if (
            not self.thresholds
            or any(t == 0 for t in self.thresholds)
            or list(self.thresholds) != sorted(self.thresholds)
        ):
            raise ValueError(f"budget {self.id}: thresholds must rise and be above 0")
        return self


class Rule(Decided):
    """An alert rule by kind; the first kind is `unpriced`: usage without a price in force."""

    id: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    kind: Literal["unpriced"]
    severity: Literal["info", "warning", "critical"] = "warning"


class Catalog(Registries):
    """Everything that people decide, at one version."""

    tenants: tuple[Tenant, ...] = ()
    prices: tuple[Price, ...] = ()
    aliases: tuple[Alias, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rules: tuple[Rule, ...] = ()
