"""One block, scalar: the path of blocks that hold what no struct knows, and the oracle of the columnar code."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec

from streams.tokens.buckets import Block, Dialect, Inconsistent, Served, told
from streams.tokens.dialects import DECODE, DIALECTS

LIMIT = 10**12
PARSE = msgspec.json.Decoder(float_hook=Decimal).decode


NOTHING_SAID = Served()


@dataclass(slots=True)
class Read:
    """What one block says. `problem`: why it cannot be trusted, with both figures; then there are no quantities."""

    quantities: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    served: Served = NOTHING_SAID


def read_block(name: str, block: str) -> Read:
    """Buckets above 0 of one block, or one line that says why not."""
    dialect = DIALECTS.get(name)
    if dialect is None:
        return Read(problem=f"unknown_dialect: {name}")
    found = Read()
    try:
        usage = decode(name, dialect, block, found.unknown)
        amounts = dict(zip(dialect.buckets, dialect.amounts(usage, found.notes), strict=True))
        found.served = Served(*dialect.served(usage)) if dialect.served else NOTHING_SAID
    except Inconsistent as error:
        return Read(problem=f"inconsistent: {error}", unknown=found.unknown)
    except msgspec.MsgspecError as error:
        return Read(problem=f"bad_usage: {error}", unknown=found.unknown)
    except (ArithmeticError, RecursionError, ValueError):
        return Read(
            problem="bad_usage: nested too deep, not UTF-8 or a number beyond all bounds", unknown=found.unknown
        )
    for bucket, amount in amounts.items():
        if not 0 <= amount <= LIMIT:
            return Read(problem=f"inconsistent: {bucket} would be {told(amount)}", unknown=found.unknown)
    found.quantities = {bucket: amounts[bucket] for bucket in sorted(amounts) if amounts[bucket]}
    return found


def decode(name: str, dialect: Dialect, block: str, unknown: list[str]) -> Any:
    """The block as its struct; fields that no struct knows are left out and named in `unknown`."""
    try:
        return DECODE[name](block)
    except msgspec.ValidationError:
        body = PARSE(block)
        names = list(_prune(dialect.kind, body, ""))
        if not names:
            raise
        unknown += names
        return msgspec.convert(body, dialect.kind)


def _prune(kind: type[Block], body: Any, path: str) -> Iterator[str]:
    """Delete from `body` what `kind` does not know; yields where it lay."""
    if isinstance(body, list):
        for item in body:
            yield from _prune(kind, item, path)
    elif isinstance(body, dict):
        known = _parts(kind)
        for key in list(body):
            if key not in known:
                del body[key]
                yield f"{path}{key}"[:64]
            elif part := known[key]:
                yield from _prune(part, body[key], f"{path}{key}.")


@cache
def _parts(kind: type[Block]) -> dict[str, type[Block] | None]:
    """Name on the wire of each field -> the struct of what lies in it, if any."""
    hints = get_type_hints(kind)
    return {
        wire: _block_in(hints[name])
        for name, wire in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    }


def _block_in(hint: Any) -> type[Block] | None:
    if isinstance(hint, type) and issubclass(hint, Block):
        return hint
    return next((found for part in get_args(hint) if (found := _block_in(part))), None)
