"""Periods of the calendar as people write them; streams/watch/periods.py says when they begin and end."""

from typing import Literal

from pydantic import model_validator

from streams.catalog.decided import Decided
from streams.catalog.prices import zone


class Calendar(Decided):
    """A period of the calendar in an IANA zone."""

    kind: Literal["calendar"] = "calendar"
    every: Literal["hour", "day", "week", "month", "quarter"]
    zone: str = "UTC"
    week_start: Literal["monday", "sunday"] = "monday"

    @model_validator(mode="after")
    def _zone_exists(self) -> "Calendar":
        zone(self.zone)
        return self
