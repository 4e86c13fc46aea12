"""The rule by which every reader and writer of a chained log agrees on what counts (DESIGN §2.2, rule 1).

A message says that it covers the input positions (base, to]. It counts, whole, if and only if `base` is the mark; then the
mark is `to`. Anything else in the log is ignored whole, whoever wrote it.
"""

from dataclasses import dataclass, replace


class LogBroken(Exception):
    """A log is not what it was: truncated, re-created, corrupt or of a newer format. Nothing may be skipped."""


@dataclass(frozen=True, slots=True)
class Chain:
    """How far one log has been folded: a value, so that a writer can compare it and never half-change it."""

    mark: int = -1  # the last input position that is covered
    end: int = 0  # the log offset that the next message gets
    last: int = -1  # the log offset of the last message that counted

    def take(self, offset: int, base: int, to: int) -> tuple["Chain", bool]:
        """The chain after the message at `offset`, and whether the message counted.

        Raises LogBroken when the log goes backwards or a message covers nothing.
        """
        if offset < self.end:
            raise LogBroken(
                f"log offset {offset}: lies before {self.end}, which was read already; the log was truncated"
            )
        if base != self.mark:
            return replace(self, end=offset + 1), False
        if to <= base:
            raise LogBroken(f"log offset {offset}: covers ({base}, {to}], which is nothing; the message is corrupt")
        return Chain(mark=to, end=offset + 1, last=offset), True
