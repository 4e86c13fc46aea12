"""The load of `make bench` is what its docstring says: a bench of something else proves nothing."""

from collections import Counter

from streams.pipeline.frames import Record
from tests.bench.load import records
from tests.support.events import DECODER

NOW = 4_000_000_000_000  # after every event of the load


def test_half_of_the_bad_share_is_cut_a_quarter_random_a_quarter_longer_and_all_are_refused() -> None:
    made = [Record(i, NOW, value) for i, value in enumerate(records(8_000, bad=0.005))]

    decoded = DECODER.decode(made)

    reasons = Counter(d.detail.split(" is ")[0][:10] if d.reason == "undecodable" else d.reason for d in decoded.dead)
    assert len(decoded.dead) == 40
    assert reasons["trailing_bytes"] == 10
    assert sum(1 for d in decoded.dead if len(d.record.value or b"") == 200) == 10


def test_ids_are_distinct_and_everything_else_is_good() -> None:
    decoded = DECODER.decode([Record(i, NOW, value) for i, value in enumerate(records(3_000))])

    assert decoded.dead == []
    assert decoded.frame["event_id"].n_unique() == 3_000
