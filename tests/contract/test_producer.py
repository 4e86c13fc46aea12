"""What a producer says of tool calls: the same call is the same item, and nothing of the arguments is in it."""

import hashlib

import pytest

from streams.producer import tool_call_hash
from tests.support.events import DECODER, avro

GIVEN = '{"query": "größe", "limit": 10}'


@pytest.mark.parametrize(
    "same", ['{"limit":10,"query":"größe"}', '{ "limit": 10, "query": "gr\\u00f6\\u00dfe" }', GIVEN.encode(),
             {"query": "größe", "limit": 10}],
)  # fmt: skip
def test_one_call_has_one_hash_however_it_is_written(same: object) -> None:
    assert tool_call_hash("search", same) == tool_call_hash("search", GIVEN)


def test_the_hash_is_what_the_contract_says_so_that_any_language_can_make_it() -> None:
    canonical = '{"limit":10,"query":"größe"}'

    assert tool_call_hash("search", GIVEN) == "search:" + hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_other_arguments_are_another_call() -> None:
    assert tool_call_hash("search", '{"q":1}') != tool_call_hash("search", '{"q":2}')
    assert tool_call_hash("search", '{"q":1}') != tool_call_hash("fetch", '{"q":1}')


@pytest.mark.parametrize("name", ["search", "a tool with spaces", "", "ü" * 100, "x" * 500, "\ud800"])
@pytest.mark.parametrize("arguments", ['{"broken": ', "\ud800", None, {"at": object}, [1, 2.5], b"\xff"])
def test_whatever_a_model_calls_the_meter_takes_the_item(name: str, arguments: object) -> None:
    decoded = DECODER.decode([avro(1, tool_call_hashes=[tool_call_hash(name, arguments)])])

    assert decoded.dead == []
