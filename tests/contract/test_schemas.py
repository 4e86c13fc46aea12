"""Released schemas are never edited, read each other's records, and have no place for content."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from streams.pipeline.decode import Decoder
from streams.pipeline.encode import Encoder
from streams.pipeline.frames import Record
from streams.resources import earlier_schemas
from tests.support.events import NOW, SCHEMA, event

FOLDER = Path(__file__).parents[2] / "schemas" / "avro"
RELEASED = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.avsc"))}
FULL = event(
    1, quantities=[{"bucket": "input_uncached", "amount": 1}], attributes=[{"key": "k", "value": "v"}], iteration=3
)  # fmt: skip
NEW = {"tool_call_hashes": ["search:0123456789abcdef"]}


def test_a_released_schema_is_never_edited_a_new_version_is_added() -> None:
    lines = (line.split() for line in (FOLDER / "released.sha256").read_text().splitlines())
    pins = {name: digest for digest, name in lines}

    assert {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in RELEASED} == pins


@pytest.mark.parametrize("wrote", RELEASED)
@pytest.mark.parametrize("reads", RELEASED)
@pytest.mark.parametrize("given", [event(1), FULL], ids=["minimal", "full"])
def test_every_released_schema_reads_what_every_other_wrote(wrote: str, reads: str, given: dict[str, Any]) -> None:
    known = {field["name"] for field in RELEASED[wrote]["fields"]}
    given = given | {k: v for k, v in NEW.items() if k in known and given is FULL}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(RELEASED[wrote]), given)

    found: Any = fastavro.schemaless_reader(
        io.BytesIO(out.getvalue()), fastavro.parse_schema(RELEASED[wrote]), fastavro.parse_schema(RELEASED[reads])
    )

    read = {field["name"] for field in RELEASED[reads]["fields"]} - {"event_time"}
    assert {k: found[k] for k in given if k in read} == {k: v for k, v in given.items() if k in read}


def test_a_producer_of_the_first_version_is_read_by_the_newest() -> None:
    first = RELEASED["usage_event_1.avsc"]
    decoder = Decoder(SCHEMA, [json.loads(text) for text in earlier_schemas("usage_event")])

    found = decoder.decode([Record(1, NOW, Encoder(first)(event(1))), Record(2, NOW, Encoder(SCHEMA)(event(2)))])

    assert found.dead == []
    assert found.frame["event_id"].to_list() == ["e1", "e2"]
    assert found.frame["tool_call_hashes"].to_list() == [[], []]


def evolved() -> Any:
    """A later version: an optional field more, an optional field less."""
    fields = [f for f in SCHEMA["fields"] if f["name"] != "complexity"]
    return SCHEMA | {
        "fields": [*fields, {"name": "new_here", "type": ["null", "string"], "default": None, "doc": "New."}]
    }


def test_readers_and_writers_of_two_versions_share_a_topic() -> None:
    old, new = Encoder(SCHEMA)(event(1)), Encoder(evolved())(event(2, new_here="x"))
    records = [Record(1, NOW, old), Record(2, NOW, new)]

    before = Decoder(SCHEMA, released=[evolved()]).decode(records)
    after = Decoder(evolved(), released=[SCHEMA]).decode(records)

    assert (before.dead, after.dead) == ([], [])
    assert before.frame["event_id"].to_list() == after.frame["event_id"].to_list() == ["e1", "e2"]
    assert after.frame["new_here"].to_list() == [None, "x"]
    assert before.frame.drop("complexity").equals(after.frame.drop("new_here"))


def test_a_writer_that_is_not_known_yet_is_set_aside_with_its_fingerprint() -> None:
    [dead] = Decoder(SCHEMA).decode([Record(1, NOW, Encoder(evolved())(event(1)))]).dead

    assert dead.reason == "unknown_schema"


@pytest.mark.parametrize("name", RELEASED)
def test_every_field_says_what_it_is_and_none_could_hold_content(name: str) -> None:
    for field in RELEASED[name]["fields"]:
        assert field.get("doc"), field["name"]
        assert not {"prompt", "completion", "message", "messages", "content", "text", "body", "input", "output"} & {
            field["name"]
        }
        optional = isinstance(field["type"], list) or (
            isinstance(field["type"], dict) and field["type"]["type"] == "array"
        )
        assert optional == ("default" in field), f"{field['name']}: a field without default can never be left out"
