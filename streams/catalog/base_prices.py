"""Base prices of genai-prices as entries of our catalog: dated, by context band, hour, tier and batch; the rest is left out.

Left out, and so `unpriced` instead of wrong: zero prices of models that are not marked as free, prices that need more than 18
digits, and cells that the source does not state: a batch price says nothing of a cache that it does not name.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any, NamedTuple

from genai_prices import data, types

from streams.catalog.models import Catalog
from streams.catalog.money import MAX_SCALE, scale_of
from streams.catalog.prices import TIMES, Alias, Hours, Price, Schedule, Seller

MILLION, THOUSAND, HOUR = 1_000_000, 1_000, 3_600_000
START = datetime(2020, 1, 1, tzinfo=UTC)  # of entries whose first day is not recorded
RENAMED = {"aws": "bedrock", "x-ai": "xai"}
OTHER_NAMES = {
    "azure": ("azure.ai.openai", "azure.ai.inference", "azure_openai"),
    "bedrock": ("aws", "aws.bedrock"),
    "google": ("gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai", "gemini", "vertex", "vertex_ai"),
    "mistral": ("mistral_ai",),
    "moonshotai": ("moonshot_ai",),
    "xai": ("x-ai", "x_ai"),
}
THIRTY = ("openai", "azure")  # a cache write without a time to live lasts 30 minutes there, 5 elsewhere
# Price key there -> bucket here, and the number of units that the price is for.
UNITS: dict[str, tuple[str, int]] = {
    "input_mtok": ("input_uncached", MILLION),
    "cache_read_mtok": ("input_cache_read", MILLION),
    "cache_write_mtok": ("input_cache_write_5m", MILLION),
    "cache_write_5m_mtok": ("input_cache_write_5m", MILLION),
    "cache_write_1h_mtok": ("input_cache_write_1h", MILLION),
    "output_mtok": ("output_visible", MILLION),
    "output_reasoning_mtok": ("output_reasoning", MILLION),
    "output_citation_mtok": ("input_citation", MILLION),
    "input_audio_mtok": ("input_uncached_audio", MILLION),
    "input_image_mtok": ("input_uncached_image", MILLION),
    "input_video_mtok": ("input_uncached_video", MILLION),
    "cache_audio_read_mtok": ("input_cache_read_audio", MILLION),
    "cache_image_read_mtok": ("input_cache_read_image", MILLION),
    "output_audio_mtok": ("output_visible_audio", MILLION),
    "output_image_mtok": ("output_visible_image", MILLION),
    "output_video_mtok": ("output_visible_video", MILLION),
    "requests_kcount": ("requests", THOUSAND),
    "web_searches_kcount": ("web_searches", THOUSAND),
    "storage_searches_kcount": ("storage_searches", THOUSAND),
    "code_executions_kcount": ("code_executions", THOUSAND),
    "rerank_searches_kcount": ("search_units", THOUSAND),
    "input_document_kpages": ("pages", THOUSAND),
    "input_annotated_document_kpages": ("annotated_pages", THOUSAND),
    "input_mchars": ("input_characters", MILLION),
    "input_text_messages_kcount": ("input_messages", THOUSAND),
    "audio_hours": ("audio_ms", HOUR),
    "input_audio_hours": ("input_audio_ms", HOUR),
}
SERVICE = {"service_tier", "processing", "speed"}


class Stretch(NamedTuple):
    """Prices that hold in [start, end), in the hours of `schedule` if it names one."""

    start: datetime
    end: datetime | None
    schedule: str
    prices: Any


@lru_cache(maxsize=1)
def base_catalog() -> Catalog:
    """Every price, name and schedule of the source that can be stated exactly."""
    source = f"genai-prices {version('genai-prices')}"
    prices, aliases, schedules, sellers = list[Price](), list[Alias](), dict[str, Schedule](), list[Seller]()
    for provider in data.providers:
        name = RENAMED.get(provider.id, provider.id)
        sells = tuple(RENAMED.get(p, p) for p in provider.fallback_model_providers or ())
        if sells or name in OTHER_NAMES:
            sellers.append(Seller(provider=name, names=OTHER_NAMES.get(name, ()), sells=sells, origin="base"))
        for model in provider.models:
            url = (provider.pricing_urls or [""])[0]
            found = list(_prices(name, model, source, url, schedules))
            prices += found
            if found:
                aliases += _aliases(name, model)
    known = {(p.provider, p.model.lower()) for p in prices}
    return Catalog(
        prices=tuple(prices),
        aliases=tuple(_unambiguous(aliases, known)),
        schedules=tuple(schedules.values()),
        sellers=tuple(sellers),
    )


def with_base(own: Catalog, base: Catalog | None = None) -> Catalog:
    """Own entries, and the base for every model for which there is no own list price."""
    base = base or base_catalog()
    priced = {(p.provider, p.model) for p in own.prices if not p.contract}
    named = {(a.provider, a.alias.lower()) for a in own.aliases} | {(p, m.lower()) for p, m in priced}
    sellers = {s.provider for s in own.sellers}
    prices = [p for p in base.prices if (p.provider, p.model) not in priced]
    models = {(p.provider, p.model) for p in (*own.prices, *prices)}
    kept = {
        "prices": (*own.prices, *prices),
        "aliases": (
            *own.aliases,
            *(
                a
                for a in base.aliases
                # A pattern stays: exact names win anyway, and it leads dated names to the model that is priced here.
                if (a.match != "exact" or (a.provider, a.alias.lower()) not in named)
                and (a.provider, a.model) in models
            ),
        ),
        "schedules": (*own.schedules, *(s for s in base.schedules if s.id not in {o.id for o in own.schedules})),
        "sellers": (*own.sellers, *(s for s in base.sellers if s.provider not in sellers)),
    }
    return own.model_copy(update=kept)


def _aliases(provider: str, model: Any) -> Iterator[Alias]:
    """Every way in which the source recognises the model; its own id needs none."""
    clauses = model.match.or_ if isinstance(model.match, types.ClauseOr) else [model.match]
    for clause in clauses:
        if isinstance(clause, types.ClauseEquals):
            if clause.equals.lower() != model.id.lower():
                yield Alias(provider=provider, alias=clause.equals, model=model.id, origin="base")
        elif isinstance(clause, types.ClauseStartsWith):
            yield Alias(provider=provider, alias=clause.starts_with, model=model.id, match="prefix", origin="base")
        else:
            yield Alias(provider=provider, alias=_pattern(clause), model=model.id, match="regex", origin="base")


def _pattern(clause: Any) -> str:
    match clause:
        case types.ClauseEquals(equals=text):
            return f"^{re.escape(text)}$"
        case types.ClauseStartsWith(starts_with=text):
            return f"^{re.escape(text)}"
        case types.ClauseEndsWith(ends_with=text):
            return f"{re.escape(text)}$"
        case types.ClauseContains(contains=text):
            return re.escape(text)
        case types.ClauseRegex(regex=text):
            return str(text)
        case types.ClauseAnd(and_=parts):
            return "^" + "".join(
                f"(?=.*?{_pattern(p)})" if not _pattern(p).startswith("^") else f"(?={_pattern(p)[1:]})" for p in parts
            )
        case types.ClauseOr(or_=parts):
            return "|".join(f"(?:{_pattern(p)})" for p in parts)
    raise TypeError(f"clause {clause!r}: not known; this genai-prices is newer than this import")


def _unambiguous(aliases: Iterable[Alias], models: set[tuple[str, str]]) -> Iterator[Alias]:
    """An exact alias that is a model of its own, or was given before, would make the price a guess."""
    seen = set(models)
    for alias in aliases:
        key = (alias.provider, alias.alias.lower())
        if alias.match != "exact":
            yield alias
        elif key not in seen:
            seen.add(key)
            yield alias


def _prices(provider: str, model: Any, source: str, url: str, schedules: dict[str, Schedule]) -> Iterator[Price]:
    """Entries of one model: its standard prices, then those of each class of service that the source states."""
    shared = {
        "provider": provider,
        "model": model.id,
        "source": source,
        "source_url": url,
        "free": model.id.endswith(":free"),
        "origin": "base",
    }
    stretches = list(_stretches(model.prices, schedules))
    for stretch in stretches:
        yield from _cells(stretch, shared, frozenset(UNITS))
    taken = set[tuple[str, ...]]()
    for variant in model.price_variants or ():
        start = variant.constraint
        if not set(variant.when) <= SERVICE or isinstance(start, types.TimeOfDateConstraint):
            continue
        service = {"service_tier": "standard", "processing": "online", "speed": "standard"} | variant.when
        if service["service_tier"] == "default":
            service["service_tier"] = "standard"
        key = tuple(service.values())
        if key == ("standard", "online", "standard") or key in taken:
            continue  # the source takes the first that fits
        taken.add(key)
        began = _midnight(start.start_date) if start else START
        yield from _cells(Stretch(began, None, "", variant.prices), shared | service, frozenset(UNITS))
        for s in stretches:  # a search costs the same in every class
            if s.end is None or s.end > began:
                units = frozenset(k for k in UNITS if k.endswith("kcount") and getattr(variant.prices, k, None) is None)
                yield from _cells(s._replace(start=max(s.start, began)), shared | service, units)


def _cells(stretch: Stretch, shared: dict[str, Any], keys: frozenset[str]) -> Iterator[Price]:
    """One entry a price key and context band. Gemini bills audio like text where the source names no other price for it."""
    google = shared["provider"] == "google"
    for key, (bucket, per) in UNITS.items():
        found = getattr(stretch.prices, key, None)
        if key not in keys or found is None:
            continue
        buckets = [bucket.replace("_5m", "_30m") if shared["provider"] in THIRTY else bucket]
        if google and key == "input_mtok" and getattr(stretch.prices, "input_audio_mtok", None) is None:
            buckets.append("input_uncached_audio")
        if google and key == "cache_read_mtok" and getattr(stretch.prices, "cache_audio_read_mtok", None) is None:
            buckets.append("input_cache_read_audio")
        for low, high, amount in _bands(found):
            each = amount / per
            if (amount == 0 and not shared["free"]) or (per not in TIMES and scale_of(each) > MAX_SCALE):
                continue  # 0.18000000000000002 is a slip of somebody's float, not a price
            for name in buckets:
                yield Price(
                    **shared | {"free": amount == 0},
                    bucket=name,
                    unit_price=amount,
                    currency="USD",
                    per=per,
                    context_from=low,
                    context_to=high,
                    schedule=stretch.schedule,
                    effective_from=stretch.start,
                    effective_to=stretch.end,
                )


def _bands(found: Any) -> Iterator[tuple[int, int | None, Decimal]]:
    """[from, to) and amount; the source's tiers hold for more than `start` tokens of input."""
    if isinstance(found, Decimal):
        yield 0, None, found
    elif isinstance(found, types.TieredPrices):
        steps = [(0, found.base), *((t.start + 1, t.price) for t in found.tiers)]
        for (low, amount), after in zip(steps, [*steps[1:], None], strict=True):
            yield low, after[0] if after else None, amount


def _stretches(prices: Any, schedules: dict[str, Schedule]) -> Iterator[Stretch]:
    """The source takes the last entry whose constraint holds: days cut time, hours lie over them."""
    if not isinstance(prices, list):
        yield Stretch(START, None, "", prices)
        return
    dated = [(i, _began(e.constraint), e.prices) for i, e in enumerate(prices) if not _hourly(e)]
    edges = sorted({start for _, start, _ in dated})
    for start, end in pairwise([*edges, None]):
        if start is None:
            continue
        index, _, found = max((d for d in dated if d[1] <= start), key=lambda d: d[0])
        yield Stretch(start, end, "", found)
        for later in prices[index + 1 :]:
            if _hourly(later):
                yield Stretch(start, end, _schedule(later.constraint, schedules), later.prices)


def _hourly(entry: Any) -> bool:
    return isinstance(entry.constraint, types.TimeOfDateConstraint)


def _began(constraint: Any) -> datetime:
    return START if constraint is None else _midnight(constraint.start_date)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _schedule(constraint: Any, schedules: dict[str, Schedule]) -> str:
    """The id of the hours, added where they are new."""
    start, end = (_utc(t) for t in (constraint.start_time, constraint.end_time))
    name = f"utc-{start:%H%M}-{end:%H%M}"
    schedules.setdefault(name, Schedule(id=name, hours=(Hours(start=start, end=end),), origin="base"))
    return name


def _utc(moment: time) -> time:
    if moment.tzinfo not in (None, UTC):
        raise ValueError(f"time {moment}: not in UTC; this genai-prices is newer than this import")
    return moment.replace(tzinfo=None)
