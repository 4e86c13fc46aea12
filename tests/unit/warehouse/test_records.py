"""Records of topics as rows: whatever a topic holds becomes rows of the right kinds, and never an exception."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka.ports import Message
from streams.warehouse.records import TABLES, rows_of

EACH = [(topic, table) for topic, tables in TABLES.items() for table in tables]
NAMES = sorted(
    {step for _, table in EACH for name, column in table.columns.items() for step in (column.path or name).split(".")}
    | {"silence", "match", "exception", "parts", "scope", "tenant", "period", "note", "text", "justification"}
)
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(
        [
            "1e30", "1e25", "99999999999999999999.5", "99999999999999999999.9999999999999999999", "0E-99999999", "1E-99999999",
            "1E+99999999", "NaN", "-Infinity", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-18T10:00:00",
            "2026-11-18T10:00:00Z", "calendar", "rule|tenant_id=acme", "nokey", "|", "a|b=", "9" * 5_000,
        ]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
records = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)


def message(value: Any, key: bytes = b"k") -> Message:
    return Message(0, 1, key, None if value is None else json.dumps(value).encode(), ())


@pytest.mark.parametrize(("topic", "table"), EACH, ids=lambda one: getattr(one, "name", one))
@settings(max_examples=150, deadline=None)
@given(found=st.lists(records | values, max_size=3))
def test_nothing_on_a_topic_stops_it(topic: str, table: Any, found: list[Any]) -> None:
    rows = rows_of(table, 0, [message(one) for one in found])

    assert set(table.columns) < set(rows.columns)


@pytest.mark.parametrize("key", [b"_x", b"", b"rule|team=a", b"\xff", b"rule|tenant_id=acme"])
def test_nor_does_the_end_of_what_is_no_scope(key: bytes) -> None:
    for _, table in EACH:
        rows_of(table, 0, [message(None, key), Message(0, 1, key, b"[" * 100_000, ())])


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("12.5", "12.500000000000000000"),
        (3, "3.000000000000000000"),
        ("0.1234567890123456785", "0.123456789012345678"),  # half to even
        ("99999999999999999999", "99999999999999999999.000000000000000000"),
        ("99999999999999999999.9999999999999999999", "None"),  # rounded it would be one too large
        ("0E-99999999", "0E-18"),
        ("1e30", "None"),
        ("1h/5m", "None"),
    ],
)
def test_money_is_stored_to_its_last_place_or_not_at_all(value: Any, stored: str) -> None:
    [table] = TABLES["usage.alerts"]

    assert str(rows_of(table, 0, [message({"value": value})])["value"][0]) == stored


def test_a_command_says_what_it_is_about_and_whose_it_is() -> None:
    [table] = TABLES["usage.commands"]
    commands = [
        {"silence": {"id": "s", "match": {"tenant": "acme"}, "reason": "deploy"}},
        {"alert_id": "a", "scope": "rule|tenant_id=acme", "note": "mine"},
        {"silence": "x", "scope": "nokey"},
    ]

    rows = rows_of(table, 0, [message(one) for one in commands])

    assert rows.select("subject", "tenant_id", "said").rows() == [
        ("s", "acme", "deploy"),
        ("a", "acme", "mine"),
        ("", "", ""),
    ]
