"""Percentiles from bins that add up: true to 2 %."""

from collections import Counter
from decimal import Decimal
from math import ceil

from hypothesis import example, given
from hypothesis import strategies as st

from streams.watch.latencies import EDGES, bin_of, middle, percentile
from streams.watch.windows import Sums


@example(0)
@example(2**53)
@given(st.integers(0, 10**9))
def test_what_stands_for_a_bin_is_at_most_2_percent_off(latency: int) -> None:
    assert abs(middle(bin_of(latency)) - latency) * 100 <= 2 * latency


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.sampled_from(["0.5", "0.95", "0.99", "1"]))
def test_a_percentile_is_that_of_the_sorted_list(latencies: list[int], q: str) -> None:
    sums = Sums(extras=dict(Counter(f"latency_ms:{bin_of(ms)}" for ms in latencies)))
    true = sorted(latencies)[ceil(Decimal(q) * len(latencies)) - 1]

    found = sums.percentile("latency_ms", Decimal(q))

    assert found is not None
    assert abs(found - true) * 100 <= 2 * true
    assert sums.percentile("time_to_first_token_ms", Decimal(q)) is None


def test_bins_are_few_and_counters_of_one_name_do_not_mix_with_another() -> None:
    assert len([e for e in EDGES if e < 600_000]) < 300
    assert percentile({"latency_ms:5": 1, "latency_ms_other:9": 5, "retries": 3}, "latency_ms", Decimal(1)) == 5
