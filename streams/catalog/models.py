"""What people decide, as models: tenants, budgets, rules, and the whole catalog. Validated where it enters, then trusted."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from streams.catalog.calendars import Calendar as Calendar  # noqa: PLC0414 - who reads budgets finds it here
from streams.catalog.commitments import Agreements
from streams.catalog.decided import Decided
from streams.catalog.money import Currency, Money
from streams.catalog.prices import Alias, Factor, FxRate, Price, Schedule, Seller
from streams.catalog.registries import Registries, is_attribute

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


class Tenant(Decided):
    """A company or unit that is metered, and who answers for its AI cost."""

    id: str = Field(min_length=1)
    name: str = ""
    accountable: str = ""
    currency: Currency | None = None  # into which costs are converted, beside what they were priced in


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
    currency: Currency = "USD"
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
    """An alert rule by kind.

    unpriced:     usage without a price in force
    catalog_age:  no version of the catalog was published for `days`
    price_change: `catalog update` takes a vendor's other price; `percent` of change at least
    """

    id: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    kind: Literal["unpriced", "catalog_age", "price_change"]
    severity: Literal["info", "warning", "critical"] = "warning"
    days: int | None = Field(None, ge=1, le=3650)
    percent: Money | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Rule":
        if (self.kind == "catalog_age") != (self.days is not None):
            raise ValueError(f"rule {self.id}: days belong to catalog_age, and only there; write days = 30")
        if self.percent is not None and self.kind != "price_change":
            raise ValueError(f"rule {self.id}: percent belongs to price_change; leave it out")
        return self


class Catalog(Registries, Agreements):
    """Everything that people decide, at one version."""

    tenants: tuple[Tenant, ...] = ()
    prices: tuple[Price, ...] = ()
    factors: tuple[Factor, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    aliases: tuple[Alias, ...] = ()
    sellers: tuple[Seller, ...] = ()
    rates: tuple[FxRate, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rules: tuple[Rule, ...] = ()
