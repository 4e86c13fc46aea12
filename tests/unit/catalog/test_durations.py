"""Lengths of time are written as people do, and read back as they were."""

import pytest

from streams.catalog.durations import duration_ms, duration_text


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (500, "500ms"), (90_000, "90s"), (3_600_000, "1h"), (1_209_600_000, "2w")]
)
def test_a_length_is_written_in_its_largest_unit_and_nothing_in_seconds(ms: int, text: str) -> None:
    assert duration_text(ms) == text
    assert duration_ms(text) == ms
