"""What everything that people decide has in common, whichever module holds it."""

from pydantic import BaseModel, ConfigDict


class Decided(BaseModel):
    """A thing that people decide; an unknown key is a slip, not a comment."""

    model_config = ConfigDict(frozen=True, extra="forbid")
