"""Our prices beside LiteLLM's list, which has no dates: standard class, lowest band, one moment.

Agreement proves little, disagreement is worth a look: one of the two is wrong, or they mean different things by one name.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from streams.catalog.changes import holds
from streams.catalog.models import Catalog
from streams.catalog.names import Names, compile_names

# LiteLLM's provider -> ours; what is not here is compared under its own name.
PROVIDERS = {
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai-language-models": "google",
    "vertex_ai-anthropic_models": "google",
    "azure_text": "azure",
}
# Their key -> our buckets, the first that we price for the model: a write's time to live depends on the provider.
KEYS = {
    "input_cost_per_token": ("input_uncached",),
    "output_cost_per_token": ("output_visible",),
    "cache_read_input_token_cost": ("input_cache_read",),
    "cache_creation_input_token_cost": ("input_cache_write_5m", "input_cache_write_30m"),
    "cache_creation_input_token_cost_above_1hr": ("input_cache_write_1h",),
}
COMPARED = frozenset(b for buckets in KEYS.values() for b in buckets)
FLOAT_NOISE = Decimal("1e-9")  # of a price: 1.4999999999999999e-07 is somebody's float, not another price


class Row(NamedTuple):
    """One price on both lists; USD for a unit."""

    provider: str
    model: str
    name: str  # theirs
    bucket: str
    ours: Decimal
    theirs: Decimal

    @property
    def ratio(self) -> Decimal:
        """Theirs for one of ours."""
        return self.theirs / self.ours


class CrossCheck(NamedTuple):
    """What both lists say, and what only one of them does: (provider, model, bucket)."""

    equal: list[Row]
    different: list[Row]
    only_ours: list[tuple[str, str, str]]
    only_theirs: list[tuple[str, str, str]]


def compare(catalog: Catalog, listing: Mapping[str, Any], at: datetime) -> CrossCheck:
    """listing: their JSON with decimals (`parse_float=Decimal`). Only providers that both have; our prices in USD."""
    ours = _ours(catalog, at)
    names, providers = compile_names(catalog), {provider for provider, _, _ in ours}
    found, seen = CrossCheck([], [], [], []), set[tuple[str, str, str]]()
    for name, provider, model, prices in _theirs(listing, providers):
        sku = _meant(names, provider, model, at)
        for key, theirs in prices.items():
            cell = next(((provider, sku, b) for b in KEYS[key] if sku and (provider, sku, b) in ours), None)
            if cell is None or sku is None:
                found.only_theirs.append((provider, model, KEYS[key][0]))
                continue
            seen.add(cell)
            row = Row(provider, sku, name, cell[2], ours[cell], theirs)
            same = abs(row.ours - row.theirs) <= row.ours * FLOAT_NOISE
            (found.equal if same else found.different).append(row)
    theirs_too = {provider for provider, _, _ in seen}
    found.only_ours.extend(sorted(cell for cell in ours if cell not in seen and cell[0] in theirs_too))
    found.different.sort(key=lambda row: (-abs(row.ratio - 1), row))
    return found


def _ours(catalog: Catalog, at: datetime) -> dict[tuple[str, str, str], Decimal]:
    usual = ("standard", "online", "standard", "", "", "", "")
    return {
        (p.provider, p.model, p.bucket): p.each
        for p in catalog.prices
        if p.where[3:] == usual and p.bucket in COMPARED and not p.context_from and holds(p, at) and p.each
        if p.currency == "USD"
    }


def _theirs(listing: Mapping[str, Any], providers: set[str]) -> Iterator[tuple[str, str, str, dict[str, Decimal]]]:
    """Their name, then provider and model as we would say them, and what is stated; 0 is how they write `not stated`."""
    for name, entry in listing.items():
        if not isinstance(entry, Mapping) or name == "sample_spec":
            continue
        said = str(entry.get("litellm_provider", ""))
        provider = PROVIDERS.get(said, said)
        prefix, slash, rest = name.partition("/")
        model = rest if slash and PROVIDERS.get(prefix, prefix) == provider else name
        if provider in providers and not ("/" in model and provider in ("azure", "bedrock")):  # their regions
            found = {key: _amount(entry[key]) for key in KEYS if entry.get(key)}
            prices = {key: amount for key, amount in found.items() if amount is not None and amount > 0}
            if prices:
                yield name, provider, model, prices


def _amount(value: Any) -> Decimal | None:
    """Their float as it was written; null for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value))


def _meant(names: Names, provider: str, model: str, at: datetime) -> str | None:
    """Our name of the model then, if the provider itself sells it."""
    for sku in names.resolve(provider, model):
        start, end = sku.effective_from, sku.effective_to
        if sku.provider == provider and (start is None or start <= at) and (end is None or at < end):
            return sku.model
    return None
