"""What a well-formed event must also be: named, in time, with a usage that can be true. On columns; bad rows go alone."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

CONTENT_FREE = 64  # characters of a string inside usage_json; a usage block names things, it does not tell stories
# No run of that many characters without a quote, no escape: nothing in such a block can be content. Any other is parsed.
DOUBTFUL = rf'[^"]{{{CONTENT_FREE + 1}}}|\\'
TOOL_CALL = r"^\S+:[0-9a-f]{8,64}$"  # a name and a digest: no place for arguments, nor for a story
READ_BLOCK = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode  # money stays as it was written
WRITE_BLOCK = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the contract."""

    skew_ms: int = 300_000
    quantity: int = 10**12
    string_bytes: int = 256  # of an id, a name, an attribute's key or value
    block_bytes: int = 16 * 1024
    items: int = 64  # of quantities, of attributes, of tool_call_hashes
    hash_bytes: int = 128  # of a tool call's name and hash


Refused = list[tuple[int, str, str]]


def check(frame: pl.DataFrame, bounds: Bounds) -> tuple[pl.DataFrame, Refused]:
    """The rows that hold, with usage_json freed of long strings, and (source_offset, reason, detail) of the others."""
    if not frame.height:
        return frame, []
    rules = _rules(frame, bounds)
    flags = frame.select(
        pl.coalesce(
            [pl.when(rule.fill_null(False)).then(pl.lit(i, pl.Int32)) for i, (_, rule, _) in enumerate(rules)]
        ).alias("rule")
    ).to_series()
    refused: Refused = []
    if flags.null_count() < frame.height:
        wrong = flags.is_not_null()
        offsets, which = frame["source_offset"].filter(wrong).to_list(), flags.filter(wrong).to_list()
        refused = [(o, rules[i][0], rules[i][2]) for o, i in zip(offsets, which, strict=True)]
        frame = frame.filter(~wrong)
    frame, no_blocks = _without_content(frame)
    return frame, sorted([*refused, *no_blocks])


def _rules(frame: pl.DataFrame, bounds: Bounds) -> list[tuple[str, pl.Expr, str]]:
    """Reason, what is wrong, in words. Rules that no row of the frame can break are left out."""
    has_amounts = pl.col("quantities").list.len() > 0
    rules: list[tuple[str, pl.Expr, str]] = [
        ("empty_tenant", _empty("tenant_id"), "tenant_id is empty"),
        ("bad_value", pl.col("tenant_id").str.contains("\x1f", literal=True), "tenant_id holds a separator (U+001F)"),
        ("missing_field", _empty("event_id"), "event_id is empty"),
        ("missing_field", _empty("provider") | _empty("model"), "provider or model is empty"),
        ("missing_field", pl.col("event_time").is_null(), "event_time is empty"),
        ("bad_value", pl.col("event_time").dt.epoch("ms") < 0, "event_time lies before 1970"),
        (
            "future_time",
            (pl.col("event_time") - pl.col("append_time")).dt.total_milliseconds() > bounds.skew_ms,
            "event_time lies in the future of the broker's clock",
        ),
        (
            "missing_field",
            pl.col("usage_json").is_null() & ~has_amounts & pl.col("cache_outcome").is_null()
            & pl.col("http_status").is_null() & pl.col("error_type").is_null(),
            "no usage: write usage_json with usage_dialect, or quantities",
        ),
        (
            "missing_field",
            pl.col("usage_json").is_not_null() & pl.col("usage_dialect").is_null(),
            "usage_json without usage_dialect",
        ),
    ]  # fmt: skip
    limits = {name: bounds.string_bytes for name, kind in frame.schema.items() if kind == pl.String}
    limits["usage_json"] = bounds.block_bytes
    sizes = frame.select(pl.col(name).str.len_bytes().max() for name in limits).row(0)
    for (name, limit), size in zip(limits.items(), sizes, strict=True):
        if size is not None and size > limit:
            rules.append(("bad_value", pl.col(name).str.len_bytes() > limit, f"{name} is over {limit} bytes"))
    for name, part in (("quantities", "bucket"), ("attributes", "key"), ("attributes", "value")):
        counts = pl.col(name).list.len()
        if not frame.select((counts > 0).any()).item():
            continue
        longest = pl.col(name).list.eval(pl.element().struct.field(part).str.len_bytes()).list.max()
        rules.append(("bad_value", counts > bounds.items, f"{name} has more than {bounds.items} items"))
        rules.append(
            ("bad_value", longest > bounds.string_bytes, f"{name}: a {part} is over {bounds.string_bytes} bytes")
        )
        if part == "bucket":
            amounts = pl.col(name).list.eval(pl.element().struct.field("amount")).list
            rules.append(("negative_quantity", amounts.min() < 0, "a quantity is negative"))
            rules.append(("absurd_quantity", amounts.max() > bounds.quantity, "a quantity is beyond 10^12"))
    if "tool_call_hashes" in frame.columns and (frame["tool_call_hashes"].list.len() > 0).any():
        hashes = pl.col("tool_call_hashes").list
        longest = hashes.eval(pl.element().str.len_bytes()).list.max()
        alike = hashes.eval(pl.element().str.contains(TOOL_CALL)).list.all()
        rules += [
            ("bad_value", hashes.len() > bounds.items, f"tool_call_hashes has more than {bounds.items} items"),
            ("bad_value", longest > bounds.hash_bytes, f"tool_call_hashes: one is over {bounds.hash_bytes} bytes"),
            ("bad_value", ~alike, "tool_call_hashes: one is not NAME:HASH, without spaces, the hash in hex"),
        ]
    return rules


def _empty(name: str) -> pl.Expr:
    """A writer schema of somebody else's may allow null where ours does not."""
    return pl.col(name).is_null() | (pl.col(name) == "")


def _without_content(frame: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
    """Blocks as they came where nothing in them can be content; else parsed, with long strings emptied.

    What is no JSON object is refused: text of whatever kind must not reach the ledger.
    """
    blocks = frame["usage_json"]
    whole = blocks.str.starts_with("{") & blocks.str.ends_with("}")
    doubtful = (~whole | blocks.str.contains(DOUBTFUL)).fill_null(False)
    if not doubtful.any():
        return frame, []
    refused: Refused = []
    cleaned = list[str | None]()
    asked = frame.filter(doubtful)
    for offset, block in zip(asked["source_offset"].to_list(), asked["usage_json"].to_list(), strict=True):
        try:
            cleaned.append(WRITE_BLOCK(_short(READ_BLOCK(block))).decode())
        except (msgspec.MsgspecError, ArithmeticError, ValueError, RecursionError):
            cleaned.append(None)
            refused.append((offset, "bad_value", "usage_json is not a JSON object"))
    blocks = blocks.scatter(doubtful.arg_true(), cleaned)
    frame = frame.with_columns(blocks)
    return frame.filter(~(doubtful & blocks.is_null())) if refused else frame, refused


def _short(value: Any) -> Any:
    """The same with every string over CONTENT_FREE characters emptied, and every such key left out."""
    match value:
        case str():
            return value if len(value) <= CONTENT_FREE else ""
        case dict():
            return {k: _short(v) for k, v in value.items() if len(k) <= CONTENT_FREE}
        case list():
            return [_short(v) for v in value]
    return value
