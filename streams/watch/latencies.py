"""Latencies as counters that add up: bins of whole ms whose width is 4 % of where they begin, so a percentile is true to 2 %.

A bin is named by its lower edge. Integers throughout, so that every process puts a latency into the same bin.
"""

from bisect import bisect_right
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

WIDTH_PERCENT = 4
LATENCIES = ("latency_ms", "time_to_first_token_ms")  # columns of an event


def _edges() -> tuple[int, ...]:
    found, edge = [0], 1
    while edge < 2**62:
        found.append(edge)
        edge = max(edge + 1, edge * (100 + WIDTH_PERCENT) // 100)
    return tuple(found)


EDGES = _edges()


def bin_of(latency_ms: int) -> int:
    """The lower edge of the bin that a latency falls into."""
    return EDGES[bisect_right(EDGES, max(latency_ms, 0)) - 1]


def middle(edge: int) -> int:
    """What stands for all latencies of a bin, ms."""
    at = bisect_right(EDGES, edge)
    return (edge + EDGES[at] - 1) // 2 if at < len(EDGES) else edge


def percentile(extras: Mapping[str, int], name: str, q: Decimal) -> int | None:
    """The latency, in ms, that a share `q` of all do not exceed; None where nothing was measured.

    extras: counters `name:edge`, see `Sums`
    """
    bins = sorted((int(key[len(name) + 1 :]), n) for key, n in extras.items() if key.startswith(f"{name}:") and n > 0)
    rank = int((q * sum(n for _, n in bins)).to_integral_value(ROUND_CEILING))
    for edge, n in bins:
        rank -= n
        if rank <= 0:
            return middle(edge)
    return None
