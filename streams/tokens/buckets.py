"""What every dialect gives: disjoint buckets of billable units, or the reason why there are none."""

Buckets = dict[str, int]


class Inconsistent(Exception):
    """The provider's own numbers contradict each other; both figures are in the message, nothing is clamped."""
