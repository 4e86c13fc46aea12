"""What every dialect is: a typed block, disjoint buckets of billable units, and how the one becomes the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec


class Inconsistent(Exception):
    """The provider's own numbers contradict each other; both figures are in the message, nothing is clamped."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API's usage block. `amounts` gives one integer a bucket, in the order of `buckets`, which is that of the alphabet.

    A negative amount is a contradiction too: parts that are more than their whole.
    """

    kind: type[msgspec.Struct]
    buckets: tuple[str, ...]
    amounts: Callable[[Any], tuple[int, ...]]
