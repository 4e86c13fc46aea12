"""What everything that people decide has in common, whichever module holds it."""

from pydantic import BaseModel, ConfigDict, ValidationInfo

PUBLISHED = {"published": True}  # context of what was published before: bounds that came later do not hold for it


class Decided(BaseModel):
    """A thing that people decide; an unknown key is a slip, not a comment."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_published(info: ValidationInfo) -> bool:
    """Whether what is validated was published before, so that no worker may refuse it."""
    return bool(info.context and info.context.get("published"))
