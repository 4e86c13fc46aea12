"""Planned workloads as people write them, in a file or as flags; one clear line with the remedy where they cannot be meant."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from streams.catalog.money import MAX_SCALE, Currency, Money, kept_of
from streams.catalog.prices import KNOWN_BUCKETS
from streams.pipeline.estimate import Capacity
from streams.resources import examples_folder

LIMIT = 10**12  # of a quantity, as for events
MONTH_HOURS = 730
FINEST = 10**6  # a share has so many parts at most, so that share times quantity stays within 64 bits


class WorkloadError(Exception):
    """A workload that cannot be meant; one line."""


def whole(value: Any) -> int:
    """100000, 100_000 or "100,000"."""
    if isinstance(value, str) and re.fullmatch(r"-?\d[\d_,]*", value.strip()):
        value = int(value.replace(",", "").replace("_", ""))
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number; write digits such as 100_000")
    if not 0 <= value <= LIMIT:
        raise ValueError(f"{value:,} is out of bounds; give 0 to 10^12")
    return value


def some(value: Any) -> int:
    """A whole number above 0."""
    if (number := whole(value)) == 0:
        raise ValueError("0 of them cost nothing; give at least 1")
    return number


def share(value: Any) -> Fraction:
    """ "60%" or "0.6"."""
    if isinstance(value, float | int):
        raise ValueError(f'{value} is a number, not text; write it as a string such as "60%"')
    try:
        text = str(value).strip()
        given = Decimal(text.removesuffix("%"))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is no share; write 60% or 0.6") from error
    if not given.is_finite():
        raise ValueError(f"{value!r} is no share; write 60% or 0.6")
    if not 0 <= given <= 100:  # as a fraction 1e400000000 fills the memory
        raise ValueError(f"{value} is not between nothing and everything; give 0% to 100%")
    if (kept := kept_of(given)) is None:
        raise ValueError(f"{value} is finer than a millionth; give fewer digits")
    found = Fraction(kept) / (100 if text.endswith("%") else 1)
    if not 0 <= found <= 1:
        hint = f", such as {value}%" if found > 1 and not text.endswith("%") else ""
        raise ValueError(f"{value} is not between nothing and everything; give 0% to 100%{hint}")
    if found.denominator > FINEST:
        raise ValueError(f"{value} is finer than a millionth; give fewer digits")
    return found


def times(value: Any) -> Decimal:
    """ "3x", "1.5x" or "3"."""
    try:
        found = Decimal(str(value).strip().lower().removesuffix("x"))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is no factor; write 3x or 1.5x") from error
    if not found.is_finite() or not 0 < found <= 10**6:
        raise ValueError(f"{value} is no factor; give a positive one up to 1000000x")
    if (kept := kept_of(found)) is None:
        raise ValueError(f"{value} is no factor; at most {MAX_SCALE} digits after the point are kept")
    return kept


def model_name(value: Any) -> str:
    """provider/model."""
    provider, slash, model = str(value).strip().partition("/")
    if not (provider and slash and model):
        raise ValueError(f"{value!r} names no provider; write provider/model, such as openai/gpt-5-mini")
    return f"{provider}/{model}"


def buckets(value: Any) -> Any:
    """Quantities of buckets that exist."""
    for name in value if isinstance(value, Mapping) else ():
        if name not in KNOWN_BUCKETS:
            near = get_close_matches(str(name), sorted(KNOWN_BUCKETS), 3, 0.4)
            raise ValueError(f"bucket {name} is unknown; is it {' or '.join(near or ['requests'])}?")
    return value


Whole = Annotated[int, BeforeValidator(whole)]
Some = Annotated[int, BeforeValidator(some)]
Model = Annotated[str, BeforeValidator(model_name)]
Share = Annotated[Fraction, BeforeValidator(share)]


class Written(BaseModel):
    """What people write; an unknown key is a slip."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Bought(Written):
    """Provisioned throughput: what one unit costs an hour and serves a minute, and how long or how much it is used."""

    hourly: Money
    units: Some = 1
    tokens_per_minute: Some
    hours: Some = MONTH_HOURS
    utilisation: Share | None = None
    currency: Currency = "USD"

    @property
    def capacity(self) -> Capacity:
        """As the arithmetic takes it."""
        return Capacity(self.hourly, self.units, self.tokens_per_minute, self.hours)


class Planned(Written):
    """One workload: so many requests, each of this size. `output` is visible output; reasoning is beside it."""

    name: str = Field("estimate", min_length=1)
    model: Model
    requests: Some
    input: Whole = 0
    output: Whole = 0
    reasoning: Whole = 0
    cached: Share | None = None
    quantities: Annotated[dict[str, Whole], BeforeValidator(buckets)] = Field(default_factory=dict)
    region: str = ""
    tenant: str = ""
    account: str = ""
    compare: tuple[Model, ...] = ()
    growth: Annotated[Decimal, BeforeValidator(times)] | None = None
    provisioned: Bought | None = None

    @property
    def used(self) -> dict[str, int]:
        """Buckets of one request, nothing cached."""
        plain = {"input_uncached": self.input, "output_visible": self.output, "output_reasoning": self.reasoning}
        names = [*plain, *(n for n in self.quantities if n not in plain)]
        return {n: amount for n in names if (amount := plain.get(n, 0) + self.quantities.get(n, 0))}

    @model_validator(mode="after")
    def _uses(self) -> "Planned":
        if not self.used:
            raise ValueError("it uses nothing; give input, output or quantities")
        return self


def planned(where: str, given: Mapping[str, Any]) -> Planned:
    """The workload; WorkloadError names the first field that cannot be."""
    try:
        return Planned.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            near = get_close_matches(str(first["loc"][-1]), list(Planned.model_fields), 1)
            message = f"is no field; {f'is it {near[0]}?' if near else 'leave it out'}"
        elif first["type"] == "missing":
            message = "is missing; add it"
        field = ".".join(map(str, first["loc"]))
        raise WorkloadError(f"{where}: {f'{field}: ' if field else ''}{message}") from error


def read_profile(path: Path) -> list[Planned]:
    """The workloads of a TOML file."""
    if not path.is_file():
        raise WorkloadError(f"profile {path}: is not there; `usage-streams estimate --example` prints one")
    try:
        found = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkloadError(f"profile {path}: {error}; mend the TOML") from error
    items = found.get("planned")
    if (
        set(found) != {"planned"}
        or not isinstance(items, list)
        or not items
        or not all(isinstance(i, dict) for i in items)
    ):
        raise WorkloadError(f"profile {path}: holds no [[planned]]; `usage-streams estimate --example` prints one")
    names = [str(item.get("name", f"number {i}")) for i, item in enumerate(items, 1)]
    return [planned(f"profile {path}: {name}", item) for name, item in zip(names, items, strict=True)]


def bought(text: str) -> dict[str, str]:
    """hourly=60,units=2,tokens_per_minute=50000 as fields."""
    fields = dict[str, str]()
    for pair in filter(None, text.split(",")):
        name, sign, value = pair.partition("=")
        if name.strip() not in Bought.model_fields or not sign:
            raise WorkloadError(
                f"provisioned: {pair.strip()!r} is no {', '.join(Bought.model_fields)};"
                " write it as hourly=60,units=1,tokens_per_minute=50000"
            )
        fields[name.strip()] = value.strip()
    return fields


def amounts(pairs: list[str]) -> dict[str, str]:
    """bucket=amount pairs."""
    found = dict[str, str]()
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name in found:
            raise WorkloadError(f"quantity {pair}: write each bucket once as bucket=amount, such as web_searches=1")
        found[name] = value
    return found


def event_of(one: Planned, at: datetime) -> bytes:
    """One request of the workload as a usage event; nobody's contract holds for it where it names no tenant."""
    provider, _, model = one.model.partition("/")
    said = {"region": one.region, "account_id": one.account}
    event = {
        "event_id": one.name,
        "tenant_id": one.tenant or "(no tenant)",
        "event_time": int(at.timestamp() * 1000),
        "provider": provider,
        "model": model,
        "quantities": [{"bucket": name, "amount": amount} for name, amount in one.used.items()],
        **{name: value for name, value in said.items() if value},
    }
    return json.dumps(event).encode()


def example() -> str:
    """The commented profile that comes with the product."""
    return (examples_folder() / "planned.toml").read_text()
