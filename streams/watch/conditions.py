"""What judges say of a scope at one moment, and what they are given to say it: values between windows, judges and alerts."""

from decimal import Decimal
from typing import NamedTuple

from streams.watch.windows import Stretch

__all__ = ["Condition", "Stretch"]


class Condition(NamedTuple):
    """One thing that an alert can be about, as it stands now; said whether it holds or not.

    name:    what crosses, unique within a scope: `0.8`, `1`, `1h/5m`, `iterations`, `guard`
    anchor:  start (ms) of the period that its alert belongs to; None: an episode, which the alert dates by its crossing
    end:     end of that stretch (ms)
    over:    it opens an alert; clear: it may resolve one. Neither: between threshold and hysteresis, nothing changes.
    latched: once per period; it stays open until its period ends, unless a correction, late data or another limit clears it
    """

    name: str
    anchor: int | None
    end: int
    over: bool
    clear: bool
    value: Decimal
    limit: Decimal
    unit: str
    severity: str
    latched: bool = False
    said: str = ""  # one sentence with figures, for people
