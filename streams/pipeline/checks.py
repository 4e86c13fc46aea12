"""What a well-formed event must also be: named, in time, with a usage that can be true. On columns; bad rows go alone."""

from dataclasses import dataclass

import polars as pl

CONTENT_FREE = 64  # characters of a string inside usage_json; a usage block names things, it does not tell stories
LONG_STRING = r'("(?:[^"\\]|\\.)*"\s*:\s*)"(?:[^"\\]|\\.){65,}"'


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the contract."""

    skew_ms: int = 300_000
    quantity: int = 10**12
    id_bytes: int = 256
    attribute_bytes: int = 256


Refused = list[tuple[int, str, str]]


def check(frame: pl.DataFrame, bounds: Bounds) -> tuple[pl.DataFrame, Refused]:
    """The rows that hold, with usage_json freed of long strings, and (source_offset, reason, detail) of the others."""
    if not frame.height:
        return frame, []
    amount = pl.element().struct.field("amount")
    has_amounts = bool((frame["quantities"].list.len() > 0).any())
    rules: list[tuple[str, pl.Expr, str]] = [
        ("empty_tenant", pl.col("tenant_id") == "", "tenant_id is empty"),
        ("missing_field", pl.col("event_id") == "", "event_id is empty"),
        ("missing_field", (pl.col("provider") == "") | (pl.col("model") == ""), "provider or model is empty"),
        ("bad_value", pl.col("event_id").str.len_bytes() > bounds.id_bytes, "event_id is over 256 bytes"),
        ("bad_value", pl.col("event_time").dt.epoch("ms") < 0, "event_time lies before 1970"),
        (
            "future_time",
            (pl.col("event_time") - pl.col("append_time")).dt.total_milliseconds() > bounds.skew_ms,
            "event_time lies in the future of the broker's clock",
        ),
        (
            "missing_field",
            pl.col("usage_json").is_null() & (pl.col("quantities").list.len() == 0) & pl.col("cache_outcome").is_null()
            & pl.col("http_status").is_null() & pl.col("error_type").is_null(),
            "no usage: write usage_json with usage_dialect, or quantities",
        ),
        (
            "missing_field",
            pl.col("usage_json").is_not_null() & pl.col("usage_dialect").is_null(),
            "usage_json without usage_dialect",
        ),
    ]  # fmt: skip
    if has_amounts:
        low = pl.col("quantities").list.eval(amount).list.min()
        high = pl.col("quantities").list.eval(amount).list.max()
        rules.append(("negative_quantity", low < 0, "a quantity is negative"))
        rules.append(("absurd_quantity", high > bounds.quantity, "a quantity is beyond 10^12"))
    if bool((frame["attributes"].list.len() > 0).any()):
        size = pl.col("attributes").list.eval(pl.element().struct.field("value").str.len_bytes()).list.max()
        rules.append(("bad_value", size > bounds.attribute_bytes, "an attribute value is over 256 bytes"))
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
    if frame["usage_json"].null_count() < frame.height:
        long = frame["usage_json"].str.contains(r'"[^"]{65,}"').fill_null(False)
        if long.any():
            clean = pl.col("usage_json").str.replace_all(LONG_STRING, '${1}""')
            frame = frame.with_columns(usage_json=pl.when(pl.Series(long)).then(clean).otherwise(pl.col("usage_json")))
    return frame, refused
