"""Records of the watch's topics that anybody may have written: they are refused where they enter, whoever reads."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.watch.packed_record import unpack
from streams.watch.published import Unreadable, alert_of, budget_of, enforcement_of, read_alert, standing_budget
from tests.support import knowledge
from tests.support.doors import enforcement
from tests.support.notifying import alert

SCOPE = "team|tenant_id=acme|team=search"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
FOREIGN: dict[str, dict[str, Any]] = {
    "no tenant": {"tenant_id": None},
    "a scope that is none": {"scope": "hello", "dimensions": None},
    "dimensions that are a list": {"dimensions": ["a"]},
    "a dimension that is a number": {"dimensions": {"team": 7}},
    "an id that is a list": {"alert_id": ["x"]},
    "an id that is a number": {"alert_id": 7},
    "a huge revision": {"revision": 10**30},
    "a state that there is not": {"state": "smouldering"},
    "silenced by a word": {"silenced": "yes"},
    "acknowledged by a word": {"acknowledged": "x"},
    "an escalation that is a word": {"escalation": "x"},
    "a threshold that is a list": {"threshold": ["x"]},
    "a moment before all time": {"detected_at": "0001-01-01T00:00:00+23:59"},
    "a moment that is none": {"occurred_at": "soon"},
    "a window that is a word": {"window": "x"},
    "contributors that are words": {"contributors": ["x"]},
    "a share that is none": {"contributors": [{"dimension": "model", "value": "m", "share": "most"}]},
    "an amount that is none": {"value": "NaN"},
    "an amount of a billion digits": {"limit": "1e999999999"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_alert_that_no_watch_wrote_is_none(name: str) -> None:
    assert read_alert(json.dumps(alert() | FOREIGN[name]).encode()) is None


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"1", b"null", b"\xff", b"[" * 3_000])
def test_what_is_no_object_is_no_record_of_any_topic(value: bytes | None) -> None:
    for read in (alert_of, enforcement_of, lambda v: budget_of(SCOPE.encode(), v or b"")):
        with pytest.raises(Unreadable):
            read(value)


@pytest.mark.parametrize("key", [None, b"", b"hello", b"\xff", b"team|tenant_id=acme|team=ads"])
def test_a_budget_stands_under_the_key_of_its_own_scope(key: bytes | None) -> None:
    with pytest.raises(Unreadable):
        standing_budget(key, json.dumps(knowledge.record(SCOPE, "1")).encode())


def test_what_the_watch_writes_is_read_with_all_that_it_says() -> None:
    own, told, stopped = knowledge.record(SCOPE, "1"), alert(extra={"a": 1}), enforcement(1)

    assert budget_of(SCOPE.encode(), json.dumps(own).encode()).items() >= own.items()
    standing, packed = standing_budget(SCOPE.encode(), json.dumps(own).encode())
    assert unpack(packed) == standing
    assert alert_of(json.dumps(told).encode()).items() >= told.items()
    assert enforcement_of(json.dumps(stopped).encode()).items() >= stopped.items()


def test_what_older_writers_left_out_is_there_for_readers() -> None:
    own, told = knowledge.record(SCOPE, "1"), alert()
    for name in ("scope", "currency", "events", "kind"):
        del own[name]
    for name in ("owner", "threshold", "since", "contributors"):
        del told[name]

    assert (
        budget_of(SCOPE.encode(), json.dumps(own).encode()).items()
        >= {"scope": SCOPE, "currency": None, "events": 0}.items()
    )
    assert (
        alert_of(json.dumps(told).encode()).items() >= {"owner": None, "threshold": None, "contributors": None}.items()
    )


@pytest.mark.parametrize("more", [{"forecast": {"x": 1}}, {"exception": {"id": "x"}}, {"used": "1e999999999"}])
def test_a_budget_whose_parts_are_none_is_none(more: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        budget_of(SCOPE.encode(), json.dumps(knowledge.record(SCOPE, "1") | more).encode())


@given(st.data())
def test_whatever_a_field_holds_a_record_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    for record, read in (
        (alert(), alert_of),
        (enforcement(1), enforcement_of),
        (knowledge.record(SCOPE, "1"), lambda v: budget_of(SCOPE.encode(), v)),
    ):
        field = data.draw(st.sampled_from(sorted(record)))
        try:
            read(json.dumps(record | {field: data.draw(ANYTHING)}).encode())
        except Unreadable as error:
            assert str(error)  # noqa: PT017  # either is right; what else it raises is not
