"""The seen set against a dict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.pipeline.seen import SeenSet

chunk = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=20, unique_by=lambda x: x[0])


def arrays(rows: list[tuple[int, int]], minute: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys = np.array([k for k, _ in rows], np.uint64)
    prints = np.array([p for _, p in rows], np.uint64)
    return keys, prints, np.full(len(rows), minute, np.uint32)


@given(st.lists(chunk, max_size=12))
def test_it_finds_exactly_what_a_dict_would(chunks: list[list[tuple[int, int]]]) -> None:
    seen, oracle = SeenSet(horizon_minutes=1_000), dict[int, int]()
    for minute, rows in enumerate(chunks):
        keys, prints, minutes = arrays(rows, minute)
        known, before = seen.find(keys, minutes)
        assert known.tolist() == [int(k) in oracle for k in keys]
        assert before.tolist() == [oracle.get(int(k), 0) for k in keys]
        fresh = ~known
        seen = seen.add(keys[fresh], prints[fresh], minutes[fresh])
        oracle.update({int(k): int(p) for k, p in zip(keys[fresh], prints[fresh], strict=True)})
    assert len(seen) == len(oracle)


def test_what_lies_beyond_the_horizon_is_forgotten() -> None:
    seen = SeenSet(horizon_minutes=10).add(*arrays([(1, 1)], minute=100))

    still, _ = seen.find(np.array([1], np.uint64), np.array([110], np.uint32))
    gone, _ = seen.find(np.array([1], np.uint64), np.array([111], np.uint32))

    assert still.tolist() == [True]
    assert gone.tolist() == [False]
    assert len(seen.add(*arrays([(2, 1)], minute=200))) == 1


@given(st.lists(chunk, max_size=6))
def test_what_is_dumped_is_what_is_loaded(chunks: list[list[tuple[int, int]]]) -> None:
    seen = SeenSet(horizon_minutes=1_000)
    for minute, rows in enumerate(chunks):
        keys, prints, minutes = arrays(rows, minute)
        known, _ = seen.find(keys, minutes)
        seen = seen.add(keys[~known], prints[~known], minutes[~known])

    loaded = SeenSet.load(1_000, seen.dump())

    everything = np.arange(61, dtype=np.uint64)
    at = np.full(61, 6, np.uint32)
    assert [x.tolist() for x in loaded.find(everything, at)] == [x.tolist() for x in seen.find(everything, at)]
    assert len(loaded) == len(seen)
