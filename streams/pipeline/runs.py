"""What a run of corrections is and where it stands: its record, its place in usage.runs and usage.adjustments (DESIGN §2.2).

Both logs are chained. In usage.runs a start follows an end and an end its start, so that of two starters one counts. A message
of usage.adjustments[p] covers pairs (run, ledger offset); a pair is one integer, so that the chain rule holds for it as it is.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from streams.pipeline.chain import LogBroken
from streams.pipeline.ledger import Headers

FORMAT = 1
OFFSET_BITS = 40  # a trillion ledger messages a partition; 23 bits are left for runs in a signed 64-bit mark
FIELDS = (
    "tenant_id", "event_id", "provider", "model", "team", "project", "application", "environment", "cost_center", "use_case",
    "workload_id", "agent_id", "workflow_id", "run_id", "conversation_id", "session_id", "user_id", "api_key_id", "account_id",
    "region", "producer", "pricing_status",
)  # fmt: skip
Kind = Literal["rerate", "void"]


class Selection(msgspec.Struct, frozen=True):
    """Which events: event time in [start, end) in ms, and for each field of `where` one of its values."""

    start: int | None = None
    end: int | None = None
    where: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, _ in self.where:
            if name not in FIELDS:
                raise ValueError(f"field {name}: cannot be chosen by; take one of {', '.join(FIELDS)}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("selection: its end is not after its start; an interval is [from, to)")


class Run(msgspec.Struct, frozen=True):
    """One run, as its start says; it applies to ledger offsets up to `vector[p]`, with one version of the catalog."""

    number: int
    run_id: str
    kind: Kind
    reason: str
    by: str
    stream: str
    catalog_sequence: int
    selection: Selection
    vector: tuple[int, ...]

    @property
    def asked(self) -> tuple[Kind, Selection]:
        """What makes it another run when it differs under the same id."""
        return self.kind, self.selection


class RunRecord(msgspec.Struct, frozen=True):
    """A message of usage.runs: the whole run again at its end, with the number of rows that it adjusted."""

    run: Run
    ended: bool = False
    adjusted: int = 0

    def span(self) -> tuple[int, int]:
        """(base, to]: started is the position 2n - 2, ended 2n - 1."""
        to = 2 * self.run.number - (1 if self.ended else 2)
        return to - 1, to


def encode_run(record: RunRecord) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers."""
    base, to = record.span()
    numbers = {"format": FORMAT, "base": base, "to": to}
    return msgspec.json.encode(record), [(name, str(value).encode()) for name, value in numbers.items()]


def read_run(value: bytes | None, headers: Headers) -> RunRecord:
    """What `encode_run` wrote; LogBroken when it is of a newer format or not ours."""
    _check_format(headers, "usage.runs")
    try:
        return msgspec.json.decode(value or b"", type=RunRecord)
    except msgspec.MsgspecError as error:
        raise LogBroken(f"usage.runs: a record cannot be read ({error}); restore the topic") from error


def place(run: int, offset: int) -> int:
    """The pair (run, ledger offset) as one integer, in the order of pairs; offset -1: nothing of that run yet."""
    return (run << OFFSET_BITS) + offset + 1


def run_of(mark: int) -> int:
    """The run of a place; 0 before the first."""
    return max(mark, 0) >> OFFSET_BITS


def offset_of(mark: int) -> int:
    """The ledger offset of a place, -1 when nothing of the run is covered."""
    return (max(mark, 0) & ((1 << OFFSET_BITS) - 1)) - 1


def reached(mark: int, run: int) -> int:
    """Up to which ledger offset the chain at `mark` has brought a run."""
    return offset_of(mark) if run_of(mark) == run else -1


class AdjustmentStamp(msgspec.Struct, frozen=True):
    """What the headers of an adjustment say of its run."""

    run: int
    run_id: str
    kind: Kind
    reason: str
    stream: str
    catalog_sequence: int
    rows: int


def adjustment_headers(run: Run, base: int, upto: int, rows: int) -> list[tuple[str, bytes]]:
    """Headers of the message that follows the place `base` and reaches ledger offset `upto`."""
    numbers = {"format": FORMAT, "base": base, "to": place(run.number, upto), "run": run.number, "rows": rows}
    texts = {"stream": run.stream, "run_id": run.run_id, "kind": run.kind, "reason": run.reason}
    both = numbers | {"catalog_sequence": run.catalog_sequence} | texts
    return [(name, str(value).encode()) for name, value in both.items()]


def read_adjustment(headers: Headers) -> AdjustmentStamp:
    """What `adjustment_headers` wrote; LogBroken when it is of a newer format or not ours."""
    _check_format(headers, "usage.adjustments")
    texts = {name: value.decode() for name, value in headers}
    try:
        return msgspec.convert(texts, AdjustmentStamp, strict=False)
    except msgspec.MsgspecError as error:
        raise LogBroken(f"usage.adjustments: headers cannot be read ({error}); restore the topic") from error


def _check_format(headers: Headers, topic: str) -> None:
    found = dict(headers).get("format", b"")
    if not found.isdigit():
        raise LogBroken(f"{topic}: a message without its format; this is not that topic")
    if int(found) > FORMAT:
        raise LogBroken(f"{topic}: format {int(found)} is newer than {FORMAT}; upgrade this worker")


def same_values(where: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Values by field: several of one field are alternatives."""
    found: dict[str, list[str]] = {}
    for name, value in where:
        found.setdefault(name, []).append(value)
    return found
