"""What the demo must come to, computed by other code than the product's: from the files, with Decimal and dicts.

Shares with it only who made which request (assign.py) and reads prices straight from the catalog's TOML.
"""

import csv
import io
import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from streams.demo.assign import Assigned, assign
from streams.demo.traces import AZURE, MOONCAKE, text_of

Tokens = dict[str, int]


@dataclass
class Expected:
    """Sums over both traces; money in USD."""

    events: int = 0
    unpriced: int = 0
    runs: set[str] = field(default_factory=set)
    tokens: Counter[str] = field(default_factory=Counter)
    by_team: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    by_model: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def _azure() -> Iterator[tuple[Assigned, Tokens]]:
    start = Decimal(0)
    for number, row in enumerate(csv.DictReader(io.StringIO(text_of(AZURE)))):
        clock = [Decimal(part) for part in row["TIMESTAMP"].partition(" ")[2].split(":")]  # one day: no date needed
        seconds = clock[0] * 3600 + clock[1] * 60 + clock[2]
        start = start or seconds
        tokens = {"input_uncached": int(row["ContextTokens"]), "output_visible": int(row["GeneratedTokens"])}
        yield assign("azure", str(number), round((seconds - start) * 1000)), tokens


def _mooncake() -> Iterator[tuple[Assigned, Tokens]]:
    known: dict[int, None] = {}
    for line in text_of(MOONCAKE).splitlines():
        row = json.loads(line)
        left, cached = row["input_length"], 0
        for block in row["hash_ids"]:
            if block not in known:
                break
            take = min(512, left)
            cached, left = cached + take, left - take
        known.update(dict.fromkeys(row["hash_ids"]))
        who = row["hash_ids"][1] if len(row["hash_ids"]) > 1 else row["hash_ids"][0]
        tokens = {"input_uncached": left, "input_cache_read": cached, "output_visible": row["output_length"]}
        yield assign("mooncake", str(who), row["timestamp"]), tokens


def prices_of(toml: str) -> dict[tuple[str, str], Decimal]:
    """(model, bucket) -> price of one token, of entries that are in force; no request of the traces reaches a higher band."""
    return {
        (p["model"], p["bucket"]): Decimal(p["unit_price"]) / p.get("per", 1)
        for p in tomllib.loads(toml)["prices"]
        if "effective_to" not in p and "context_from" not in p
    }


def expected(toml: str) -> Expected:
    """toml: the catalog's prices. Exact: no sum here is ever rounded."""
    prices, found = prices_of(toml), Expected()
    with localcontext(prec=60):
        for a, tokens in (*_azure(), *_mooncake()):
            found.events += 1
            found.runs.add(a.run)
            found.tokens.update(tokens)
            wanted = [(prices.get((a.model, bucket)), count) for bucket, count in tokens.items() if count]
            if any(price is None for price, _ in wanted):
                found.unpriced += 1
                continue
            cost = sum((price * count for price, count in wanted if price is not None), Decimal(0))
            found.by_team[a.team] += cost
            found.by_model[a.model] += cost
    return found


def alerts(found: Expected, budgets_toml: str) -> set[tuple[str, str, str]]:
    """(budget, team, threshold) that must fire: budgets per team with a rolling day, which holds the whole replay."""
    must = set()
    for budget in tomllib.loads(budgets_toml)["budgets"]:
        if budget.get("each") != ["team"] or budget["period"].get("size") != "24h":
            continue
        for team, cost in found.by_team.items():
            for threshold in budget["thresholds"]:
                if cost >= Decimal(budget["limit"]) * Decimal(threshold):
                    must.add((budget["id"], team, str(Decimal(threshold).normalize())))
    return must
