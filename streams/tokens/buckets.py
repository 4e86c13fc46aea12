"""What every dialect is: a typed block, disjoint buckets of billable units, and how the one becomes the other.

A block's struct names every field that its provider is known to send, billed or not, so that a new one is noticed the day it
appears; fields that carry nothing billable are `Ignored`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec

Ignored = Any
MODALITIES = ("audio", "document", "image", "video")  # text has no suffix
SIDES = ("input_", "output_")  # how buckets of tokens begin
NOT_TOKENS = ("input_audio_ms", "input_characters", "input_messages")  # other units of input, whatever they begin with
Count = Annotated[int, msgspec.Meta(ge=0)]  # of parts that are summed up: there a negative one could hide
Notes = list[str]
MOST_DIGITS = 15  # before the point, of a duration or a cost that can be true
MOST_DECIMALS = 64


class Inconsistent(Exception):
    """The provider's own numbers contradict each other; both figures are in the message, nothing is clamped."""


class Block(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A usage block, or a part of one."""


class Served(NamedTuple):
    """What the response says beside counts; tier and speed win over what the event says of them."""

    service_tier: str | None = None
    speed: str | None = None
    geo: str | None = None  # where the provider says that it was served; the region of an event that names none
    billed_cost: Decimal | None = None  # what the provider says that it charges; stands beside ours
    billed_currency: str | None = None


Said = tuple[
    str | None, str | None, str | None, Decimal | None, str | None
]  # a Served before it has names: cheap to make


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API's usage block.

    amounts: one integer a bucket, in the order of `buckets`; a negative one is a contradiction too: parts that are more than
             their whole. Notes are remarks for the row, such as a convention that had to be inferred.
    served:  what else the response says, where its block says anything
    """

    kind: type[Block]
    buckets: tuple[str, ...]
    amounts: Callable[[Any, Notes], tuple[int, ...]]
    served: Callable[[Any], Said] | None = None


def agree(name: str, told: int | None, parts: str, found: int) -> None:
    """Raises Inconsistent when the provider gives a figure, `name`, that its parts miss."""
    if told is not None and told != found:
        raise Inconsistent(f"{name} is {told}, {parts} are {found}")


def counted(*counts: int | None) -> None:
    """Raises Inconsistent when none of the counts is given: a request of which nothing is known did not use nothing."""
    if all(count is None for count in counts):
        raise Inconsistent("the block gives no count; is it of this dialect?")


def milliseconds(seconds: Decimal | None) -> int:
    """A duration in our smallest unit; half a millisecond goes to the even one."""
    if seconds is None:
        return 0
    if not seconds.is_finite() or seconds.adjusted() > MOST_DIGITS:  # 1e999999 as an integer takes minutes
        raise Inconsistent("seconds are beyond all bounds")
    return round(seconds * 1000)


def billed(cost: Decimal | None, currency: str = "USD") -> tuple[Decimal | None, str | None]:
    """What a provider says that it charges, if it does; Inconsistent when that is no amount of money."""
    if cost is None:
        return None, None
    # In this order: 1e999999 has a million digits once it is written out, and a signaling NaN cannot be compared.
    if not cost.is_finite() or cost.adjusted() > MOST_DIGITS or -int(cost.as_tuple().exponent) > MOST_DECIMALS:
        raise Inconsistent("the cost that the provider gives is no amount of money")
    return cost, currency


def told(amount: int) -> str:
    """A count in words that always can be written: Python refuses to write out more than 4,300 digits."""
    return str(amount) if abs(amount) < 10 ** (2 * MOST_DIGITS) else "beyond all bounds"
