"""Decoding: three encodings, one frame; a bad record is a dead letter, alone, and its neighbours are unharmed."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Record
from tests.support.events import DECODER, ENCODE, NOW, OPENAI_USAGE, SCHEMA, avro, event, text


def oracle(record: Record) -> dict[str, Any] | None:
    """What fastavro makes of one record, slowly; None when it refuses or the bytes go on."""
    stream = io.BytesIO((record.value or b"")[10:])
    try:
        row = fastavro.schemaless_reader(stream, fastavro.parse_schema(SCHEMA))
    except Exception:
        return None
    return row if stream.tell() == len(record.value or b"") - 10 else None


def test_json_and_avro_give_the_same_row() -> None:
    calls = ["search:0123456789abcdef"] * 2
    pair = {"key": "k", "value": "v"}
    as_avro = DECODER.decode([avro(1, attributes=[pair], latency_ms=3, tool_call_hashes=calls)]).frame
    as_json = DECODER.decode([text(1, attributes={"k": "v"}, latency_ms=3, tool_call_hashes=calls)]).frame

    assert as_avro.equals(as_json)
    assert as_avro["tool_call_hashes"].to_list() == [calls]


def in_sized_blocks(record: Record, pairs: list[tuple[str, str]]) -> Record:
    """The record with its last fields, attributes and tool calls, as blocks that say their size: legal, and what some
    encoders write."""
    items = b"".join(bytes([2 * len(text)]) + text.encode() for pair in pairs for text in pair)
    calls = bytes([2 * 10]) + b"f:01234567"
    value = (record.value or b"")[:-2]  # the closing zeros of the empty arrays
    sized = bytes([2 * len(pairs) - 1, 2 * len(items)]) + items + b"\0" + bytes([1, 2 * len(calls)]) + calls + b"\0"
    return record._replace(value=value + sized)


def test_arrays_in_blocks_with_sizes_are_read_like_any_other() -> None:
    decoded = DECODER.decode([avro(1), in_sized_blocks(avro(2), [("k", "v"), ("l", "w")]), avro(3)])

    assert decoded.dead == []
    assert decoded.frame["event_id"].to_list() == ["e1", "e2", "e3"]
    assert decoded.frame["attributes"][1].to_list() == [{"key": "k", "value": "v"}, {"key": "l", "value": "w"}]
    assert decoded.frame["tool_call_hashes"].to_list() == [[], ["f:01234567"], []]


@pytest.mark.parametrize("timestamp", [-1, 2**63 - 1])
def test_a_timestamp_that_cannot_be_stops_nothing(timestamp: int) -> None:
    decoded = DECODER.decode([avro(1)._replace(timestamp=timestamp), avro(2)])

    assert 2 in decoded.frame["source_offset"]
    assert decoded.frame.height + len(decoded.dead) == 2


def test_a_confluent_frame_is_read_with_the_schema_of_its_id() -> None:
    body = ENCODE(event())[10:]
    decoder = Decoder(SCHEMA, registry={7: SCHEMA})

    decoded = decoder.decode([Record(1, NOW, b"\0\0\0\0\7" + body), Record(2, NOW, b"\0\0\0\0\x08" + body)])

    assert decoded.frame["event_id"].to_list() == ["e1"]
    assert [(d.record.offset, d.reason) for d in decoded.dead] == [(2, "unknown_schema")]


BAD = {
    "undecodable": Record(2, NOW, b"\xff\xfenot avro"),
    "empty": Record(2, NOW, None),
    "truncated": Record(2, NOW, ENCODE(event())[:-4]),
    "trailing bytes": Record(2, NOW, ENCODE(event()) + b"\0"),
    "forged: two records in one": Record(2, NOW, ENCODE(event()) + ENCODE(event(9))[10:]),
    "unknown fingerprint": Record(2, NOW, b"\xc3\x01" + bytes(8) + ENCODE(event())[10:]),
    "invalid UTF-8": Record(2, NOW, ENCODE(event(2, team="abc")).replace(b"abc", b"a\xffc")),
    "claims more rows than it has": Record(2, NOW, ENCODE(event())[:-1] + b"\x02"),
    "5 MB": Record(2, NOW, bytes([0xC3, 1]) + bytes(5_000_000)),
    "json: missing field": text(2, model=None),
    "json: not an object": Record(2, NOW, b"{nonsense"),
    "json: naive time": text(2, event_time="2026-01-01T00:00:00"),
    "json: a float as a count": text(2, usage_json=None, usage_dialect=None, quantities={"input_uncached": 1.5}),
    "far future": avro(2, event_time=NOW + 86_400_000),
    "a tenant that could pass for another": avro(2, tenant_id="a\x1fb"),
    "empty tenant": avro(2, tenant_id=""),
    "no usage": avro(2, usage_json=None),
    "negative": avro(2, usage_json=None, quantities=[{"bucket": "input_uncached", "amount": -1}]),
    "absurd": avro(2, usage_json=None, quantities=[{"bucket": "input_uncached", "amount": 10**15}]),
    "long attribute": avro(2, attributes=[{"key": "k", "value": "x" * 257}]),
    "long attribute key": avro(2, attributes=[{"key": "k" * 257, "value": "x"}]),
    "many attributes": avro(2, attributes=[{"key": f"k{i}", "value": "x"} for i in range(65)]),
    "many quantities": avro(2, usage_json=None, quantities=[{"bucket": f"b{i}", "amount": 1} for i in range(65)]),
    "many tool calls": avro(2, tool_call_hashes=["f:01234567"] * 65),
    "a long tool call": avro(2, tool_call_hashes=["f" * 112 + ":0123456789abcdef"]),
    "a story as a tool call": avro(2, tool_call_hashes=["once upon a time:01234567"]),
    "arguments as a tool call": avro(2, tool_call_hashes=["search:{q:secret}"]),
    "json: a tool call of null": text(2, tool_call_hashes=[None]),
    "a story as a name": avro(2, error_type="x" * 257),
    "usage_json: a story": avro(2, usage_json="Once upon a time"),
    "usage_json: a story in braces": avro(2, usage_json="{" + "once upon a time " * 10 + "}"),
    "usage_json: an array": avro(2, usage_json="[1]"),
    "usage_json: large": avro(2, usage_json=json.dumps({f"k{i}": i for i in range(3_000)})),
    "json: nested too deep": Record(2, NOW, b'{"a":' * 20_000),
    "json: a lone surrogate": Record(2, NOW, (text(2).value or b"").replace(b"search", b"\\ud800x")),
    "json: invalid UTF-8": Record(2, NOW, (text(2).value or b"").replace(b"search", b"\xff")),
    "json: a number that is too large": Record(2, NOW, (text(2).value or b"")[:-1] + b',"attempt":1e999}'),
    "json: before all time": text(2, event_time="0001-01-01T00:00:00+14:00"),
    "json: after all time": text(2, event_time="9999-12-31T23:59:59-14:00"),
    "a cloud event whose id is not UTF-8": avro(2)._replace(headers=(("ce_id", b"\xff"), ("ce_source", b"s"))),
    "json: a cloud event whose id is not UTF-8": text(2)._replace(headers=(("ce_id", b"\xff"), ("ce_source", b"s"))),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_one_dead_letter_and_harms_no_neighbour(name: str) -> None:
    decoded = DECODER.decode([avro(1), BAD[name], avro(3)])

    assert [d.record for d in decoded.dead] == [BAD[name]]
    assert decoded.frame["source_offset"].to_list() == [1, 3]
    assert decoded.frame["event_id"].to_list() == ["e1", "e3"]


STORY = "the whole prompt, by accident, " * 10


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ({"n": 3, "note": STORY, "tier": "default"}, {"n": 3, "note": "", "tier": "default"}),
        ({"n": 3, "notes": [STORY, "short"]}, {"n": 3, "notes": ["", "short"]}),
        ({"n": 3, "quoted": '"so she said" ' * 20}, {"n": 3, "quoted": ""}),
        ({"n": 3, STORY: 1}, {"n": 3}),
        ({"n": 3, "deep": {"er": [{"still": STORY}]}}, {"n": 3, "deep": {"er": [{"still": ""}]}}),
        ({"n": 3, "escaped": "ü" * 65}, {"n": 3, "escaped": ""}),
        ({"n": 3, "fits": "ü" * 64}, {"n": 3, "fits": "ü" * 64}),
    ],
)
def test_no_content_travels_inside_the_usage_block(block: dict[str, Any], kept: dict[str, Any]) -> None:
    frame = DECODER.decode([avro(1, usage_json=json.dumps(block)), avro(2)]).frame

    assert json.loads(frame["usage_json"][0]) == kept
    assert frame["usage_json"][1] == OPENAI_USAGE


def test_numbers_beside_content_stay_to_the_last_digit() -> None:
    block = f'{{"note":"{STORY}","cost":0.12345678901234567890123}}'

    frame = DECODER.decode([avro(1, usage_json=block)]).frame

    assert frame["usage_json"][0] == '{"note":"","cost":0.12345678901234567890123}'


@pytest.mark.parametrize("encoding", [avro, text])
def test_the_source_and_id_of_a_cloud_event_become_its_event_id(encoding: Callable[..., Record]) -> None:
    record = encoding(1)._replace(headers=(("ce_id", b"77"), ("ce_source", b"/gateway")))

    assert DECODER.decode([record, avro(2)]).frame["event_id"].to_list() == ["/gateway#77", "e2"]


def test_a_cloud_event_in_json_may_leave_its_id_and_time_to_the_headers() -> None:
    headers = (("ce_id", b"77"), ("ce_source", b"/gateway"), ("ce_time", b"2026-01-01T00:00:00Z"))

    frame = DECODER.decode([text(1, event_id=None, event_time=None)._replace(headers=headers)]).frame

    assert frame["event_id"].to_list() == ["/gateway#77"]
    assert frame["event_time"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)]


def test_times_are_aware_utc_in_ms() -> None:
    frame = DECODER.decode([text(1, event_time="2026-01-01T01:00:00.250+01:00")]).frame

    assert frame["event_time"].to_list() == [datetime(2026, 1, 1, 0, 0, 0, 250_000, UTC)]


mutation = st.tuples(st.sampled_from(["cut", "flip", "insert", "append"]), st.integers(10, 400), st.integers(0, 255))


@settings(max_examples=150, deadline=None)
@given(st.lists(mutation, min_size=1, max_size=6))
def test_mutated_neighbours_never_change_a_good_row(mutations: list[tuple[str, int, int]]) -> None:
    records = [avro(i, user_id="ü" if i % 2 else None) for i in range(10)]
    for n, (how, wish, byte) in enumerate(mutations):
        value = bytearray(records[n].value or b"")
        at = min(wish, len(value) - 1)
        match how:
            case "cut":
                del value[at:]
            case "flip":
                value[at] ^= byte
            case "insert":
                value[at:at] = bytes([byte])
            case "append":
                value += bytes([byte])
        records[n] = records[n]._replace(value=bytes(value))

    decoded = DECODER.decode(records)

    assert decoded.frame.height + len(decoded.dead) == len(records)
    good = decoded.frame.filter(pl.col("source_offset") >= len(mutations))
    assert good.equals(DECODER.decode(records[len(mutations) :]).frame)
    for row in decoded.frame.to_dicts():
        slow = oracle(records[row["source_offset"]])
        assert slow is not None
        assert row["event_id"] == slow["event_id"]
        assert row["team"] == slow["team"]


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=80)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


JSON_VALUES = nested(nested(LEAVES))
FIELDS = st.sampled_from([f["name"] for f in SCHEMA["fields"]])
HEADER = st.tuples(st.sampled_from(["ce_id", "ce_source", "ce_time", "x"]), st.binary(max_size=6))
VALUES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda tail: (avro(1).value or b"")[:20] + tail),
    st.dictionaries(FIELDS, JSON_VALUES, max_size=6).map(lambda wrong: json.dumps(event(1) | wrong).encode()),
    st.dictionaries(FIELDS, JSON_VALUES, max_size=3).map(
        lambda wrong: json.dumps(event(1) | wrong, ensure_ascii=False).encode(errors="surrogatepass")
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(VALUES, st.lists(HEADER, max_size=3)), max_size=4))
def test_whatever_comes_is_a_row_or_a_dead_letter_and_the_good_one_among_them_stays(given_: list[Any]) -> None:
    records = [Record(i, NOW, value, tuple(headers)) for i, (value, headers) in enumerate(given_)]

    decoded = DECODER.decode([*records, avro(99)])

    offsets = [*decoded.frame["source_offset"], *(d.record.offset for d in decoded.dead)]
    assert sorted(offsets) == [*range(len(records)), 99]
    assert 99 in decoded.frame["source_offset"]
    for block in decoded.frame["usage_json"].drop_nulls():
        assert all(len(word) <= 64 for word in strings(json.loads(block)))


def strings(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [w for k, v in value.items() for w in (k, *strings(v))]
        case list():
            return [w for v in value for w in strings(v)]
    return []


OPTIONAL = {
    f["name"]: f["type"][1] for f in SCHEMA["fields"] if isinstance(f["type"], list) and f["name"] != "usage_json"
}
SHORT = st.text(st.characters(codec="utf-8"), max_size=20)
FILLED = st.dictionaries(st.sampled_from(sorted(OPTIONAL)), st.none(), max_size=8).flatmap(
    lambda names: st.fixed_dictionaries(
        {n: SHORT if OPTIONAL[n] == "string" else st.integers(-(2**62), 2**62) for n in names}
    )
)
PAIRS = st.lists(st.fixed_dictionaries({"key": SHORT, "value": SHORT}), max_size=3)
CALLS = st.lists(st.from_regex(r"[a-zü]{1,9}:[0-9a-f]{16}", fullmatch=True), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FILLED, PAIRS, CALLS, st.none() | mutation), min_size=1, max_size=12))
def test_columns_hold_what_fastavro_reads_row_by_row(given_: list[Any]) -> None:
    records = []
    for offset, (filled, pairs, calls, harm) in enumerate(given_):
        value = bytearray(avro(offset, attributes=pairs, tool_call_hashes=calls, **filled).value or b"")
        if harm:
            how, wish, byte = harm
            at = min(wish, len(value) - 1)
            if how == "cut":
                del value[at:]
            else:
                value[at] ^= byte
        records.append(Record(offset, NOW, bytes(value)))

    decoded = DECODER.decode(records)

    assert sorted([*decoded.frame["source_offset"], *(d.record.offset for d in decoded.dead)]) == list(
        range(len(records))
    )
    for row in decoded.frame.to_dicts():
        slow = oracle(records[row["source_offset"]])
        assert slow is not None
        assert {k: row[k] for k in slow if k != "usage_json"} == {k: v for k, v in slow.items() if k != "usage_json"}
    untouched = {offset for offset, (*_, harm) in enumerate(given_) if harm is None}
    assert untouched <= set(decoded.frame["source_offset"])
