"""Lengths of time as people write them, `90s`, `30m`, `6h`, `3d`, `2w`; in the core they are milliseconds."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo

from streams.catalog.decided import is_published

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
LONGEST_MS = 3_650 * UNITS["d"]  # what begins now ends within ten years
_WRITTEN = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)")


def duration_ms(value: Any) -> int:
    """Milliseconds of `6h`. ValueError says what is wrong and how to write it."""
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"duration is {value!r}; write a number and a unit, such as 90s, 30m, 6h, 3d")
    return int(found[1]) * UNITS[found[2]]


def duration_text(ms: int) -> str:
    """The shortest way to write it, `6h`."""
    if not ms:
        return "0s"  # every unit divides it
    return next(f"{ms // size}{unit}" for unit, size in reversed(UNITS.items()) if ms % size == 0)


def _given(value: Any, info: ValidationInfo) -> int:
    ms = duration_ms(value)
    if ms > LONGEST_MS and not is_published(info):
        raise ValueError(f"duration is {value!r}; write at most {duration_text(LONGEST_MS)}")
    return ms


Duration = Annotated[int, BeforeValidator(_given), PlainSerializer(duration_text)]
