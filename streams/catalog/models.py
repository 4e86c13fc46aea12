"""What people decide, as models: tenants and the whole catalog. Validated where it enters, then trusted."""

from pydantic import Field

from streams.catalog.alerting import Maintenance, Rule, Silence
from streams.catalog.commitments import Agreements
from streams.catalog.decided import Decided
from streams.catalog.limits import Budget, BurnRate, Exemption, RunLimits
from streams.catalog.money import Currency
from streams.catalog.prices import Alias, Factor, FxRate, Price, Schedule, Seller
from streams.catalog.registries import Registries
from streams.catalog.routes import Digest, Endpoint, Route


class Tenant(Decided):
    """A company or unit that is metered, and who answers for its AI cost."""

    id: str = Field(min_length=1)
    name: str = ""
    accountable: str = ""
    currency: Currency | None = None  # into which costs are converted, beside what they were priced in


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
    burn_rates: tuple[BurnRate, ...] = ()
    runs: tuple[RunLimits, ...] = ()
    rules: tuple[Rule, ...] = ()
    exceptions: tuple[Exemption, ...] = ()
    silences: tuple[Silence, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    routes: tuple[Route, ...] = ()
    digests: tuple[Digest, ...] = ()
