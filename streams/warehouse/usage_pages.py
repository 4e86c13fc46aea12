"""Usage out of the warehouse as frames, page after page in the order of the key, so that memory holds one page."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

PAGE = 20_000
KEY = ("tenant_id", "event_time", "stream", "partition", "source_offset")
SELECT = """
SELECT {columns}, stream AS `key.stream`, partition AS `key.partition`, source_offset AS `key.source_offset`
FROM usage.usage_events
WHERE event_time >= {{start:DateTime64(3, 'UTC')}} AND event_time < {{end:DateTime64(3, 'UTC')}}
    AND (tenant_id, event_time, stream, partition, source_offset) >
        ({{tenant:String}}, {{at:DateTime64(3, 'UTC')}}, {{stream:String}}, {{partition:Int32}}, {{offset:Int64}})
ORDER BY tenant_id, event_time, stream, partition, source_offset
LIMIT {{most:UInt32}}
"""


def count(client: Client, start: datetime, end: datetime) -> int:
    """Events in [start, end)."""
    asked = (
        "SELECT count() FROM usage.usage_events WHERE event_time >= {start:DateTime64(3, 'UTC')}"
        " AND event_time < {end:DateTime64(3, 'UTC')}"
    )
    return int(client.query(asked, parameters={"start": _text(start), "end": _text(end)}).result_rows[0][0])


def pages(
    client: Client, columns: Sequence[str], start: datetime, end: datetime, most: int = PAGE
) -> Iterator[pl.DataFrame]:
    """Rows of [start, end) with these columns; `source_offset` is the row's place in its page, unique and ascending."""
    wanted = ", ".join(c for c in dict.fromkeys(("tenant_id", "event_time", *columns)) if c != "source_offset")
    sql = SELECT.format(columns=wanted)
    after: dict[str, Any] = {"tenant": "", "at": _text(start), "stream": "", "partition": -1, "offset": -1}
    while True:
        parameters = {"start": _text(start), "end": _text(end), "most": most, **after}
        raw = client.raw_query(
            sql, parameters=parameters, fmt="ArrowStream", settings={"output_format_arrow_string_as_string": 1}
        )
        page = pl.read_ipc_stream(raw) if raw else pl.DataFrame()
        if page.is_empty():
            return
        last = page.row(-1, named=True)
        after = {
            "tenant": last["tenant_id"],
            "at": _text(last["event_time"]),
            "stream": last["key.stream"],
            "partition": last["key.partition"],
            "offset": last["key.source_offset"],
        }
        texts = [pl.col(name).cast(pl.String) for name, kind in page.schema.items() if kind == pl.Categorical]
        place = pl.int_range(pl.len(), dtype=pl.Int64).alias("source_offset")
        yield page.with_columns(*texts, place).select(columns)
        if page.height < most:
            return


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
