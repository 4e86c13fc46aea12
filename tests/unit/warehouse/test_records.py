"""The warehouse stores whatever a topic holds: what a column cannot hold is null there, and in the record as it was."""

import json
from decimal import Decimal

import pytest

from streams.kafka import topics
from streams.kafka.ports import Message
from streams.warehouse.records import TABLES, rows_of
from tests.support.doors import alert


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("1.50", Decimal("1.5")),
        ("0E-400000000", Decimal(0)),
        ("1E-400000000", None),
        ("1E400000000", None),
        ("1" + "0" * 20, None),
        ("9" * 20, Decimal("9" * 20)),
        ("NaN", None),
        ("1h/5m", None),
    ],
)
def test_an_amount_that_no_column_holds_is_null_and_stops_nothing(value: str, stored: Decimal | None) -> None:
    table = next(t for t in TABLES[topics.ALERTS] if "value" in t.columns)
    body = json.dumps(alert(value=value)).encode()

    rows = rows_of(table, 0, [Message(0, 0, b"a1", body, ())])

    assert rows["value"].to_list() == [stored]
    assert f'"value": "{value}"' in rows["record"][0]
