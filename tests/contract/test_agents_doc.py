"""What docs/agents.md tells agents to do: its Python can be read, its guard obeys, and its events are what the meter takes."""

import ast
import json
import re
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.tokens.dialects import DIALECTS
from tests.support.events import DECODER, SCHEMA, text

DOC = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
GUARD = next(s for s in SNIPPETS if "class Guard" in s)
EVENT = next(s for s in SNIPPETS if "def event_of" in s)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_is_python(snippet: str) -> None:
    assert ast.parse(snippet).body


def test_every_event_in_it_has_the_fields_and_dialects_that_the_contract_has() -> None:
    fields = {field["name"] for field in SCHEMA["fields"]}
    found = [
        {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
        for snippet in SNIPPETS
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.Dict) and "event_id" in {k.value for k in node.keys if isinstance(k, ast.Constant)}
    ]

    assert len(found) >= 4
    for event in found:
        assert event.keys() <= fields
        assert {"event_id", "tenant_id", "event_time", "provider", "model", "usage_json"} <= event.keys()
        dialect = event["usage_dialect"]
        assert isinstance(dialect, ast.Constant)
        assert dialect.value in DIALECTS


def test_the_event_of_a_response_is_taken_by_the_meter() -> None:
    names: dict[str, Any] = {}
    exec(GUARD + EVENT, names)
    call = types.SimpleNamespace(type="function_call", name="search", arguments='{"q": 1}')
    usage = types.SimpleNamespace(
        model_dump_json=lambda: '{"input_tokens":9,"output_tokens":1,"total_tokens":10,"output_tokens_details":{}}'
    )
    response = types.SimpleNamespace(id="r-1", model="gpt-5-mini", output=[call, call], usage=usage)

    event = names["event_of"](response, "run-1", 3) | {"event_time": None}
    decoded = DECODER.decode([text(1, **{k: v for k, v in event.items() if v is not None})])

    assert decoded.dead == []
    row = decoded.frame.row(0, named=True)
    assert (row["run_id"], row["iteration"], row["tool_calls"]) == ("run-1", 3, 2)
    assert row["tool_call_hashes"][0] == row["tool_call_hashes"][1]


class Door(BaseHTTPRequestHandler):
    """Answers with what the test put there, and keeps what it was asked."""

    answers: ClassVar[list[dict[str, Any] | int]] = []
    asked: ClassVar[list[tuple[dict[str, str], str | None]]] = []

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        self.asked.append((query | {"path": url.path}, self.headers.get("Authorization")))
        answer = self.answers.pop(0)
        body = b"" if isinstance(answer, int) else json.dumps(answer).encode()
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def door() -> Iterator[str]:
    Door.answers, Door.asked = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def names() -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(GUARD, found)
    return found


def said(verdict: str) -> dict[str, Any]:
    return {"verdict": verdict, "text": f"it says {verdict}", "headroom": "1"}


def test_the_guard_asks_with_all_that_it_knows_and_goes_on_where_it_may(door: str, names: dict[str, Any]) -> None:
    Door.answers = [said("allow"), said("warn")]
    guard = names["Guard"](door, token="secret", tenant_id="acme", run_id="r-1", timeout=10)

    assert guard.ask(amount="0.05", team="search")["verdict"] == "allow"
    assert guard.ask()["verdict"] == "warn"
    assert Door.asked[0] == (
        {"path": "/v1/check", "tenant_id": "acme", "run_id": "r-1", "team": "search", "amount": "0.05"},
        "Bearer secret",
    )  # fmt: skip


@pytest.mark.parametrize("verdict", ["stop", "require_approval"])
def test_the_guard_ends_the_run_with_the_text_for_the_user(door: str, names: dict[str, Any], verdict: str) -> None:
    Door.answers = [said(verdict)]

    with pytest.raises(names["Stopped"], match=f"it says {verdict}"):
        names["Guard"](door, tenant_id="acme", timeout=10).ask()


def test_what_it_has_just_spent_is_part_of_what_it_asks_for(door: str, names: dict[str, Any]) -> None:
    Door.answers = [said("allow")]
    guard = names["Guard"](door, tenant_id="acme", timeout=10)

    guard.spent("0.25")
    guard.ask(amount="0.5")

    assert Door.asked[0][0]["amount"] == "0.75"


@pytest.mark.parametrize("trouble", [500, 503])
def test_an_api_that_gives_no_answer_means_what_fail_says(door: str, names: dict[str, Any], trouble: int) -> None:
    Door.answers = [trouble, trouble]

    assert names["Guard"](door, tenant_id="acme", timeout=10).ask()["verdict"] == "allow"
    with pytest.raises(names["Stopped"], match="cannot be checked"):
        names["Guard"](door, tenant_id="acme", fail="closed", timeout=10).ask()


def test_a_question_that_is_wrong_is_a_bug_and_not_an_outage(door: str, names: dict[str, Any]) -> None:
    Door.answers = [400]

    with pytest.raises(HTTPError, match="400"):
        names["Guard"](door, tenant_id="acme", colour="red", timeout=10).ask()


def test_an_api_that_is_not_there_means_the_same(names: dict[str, Any]) -> None:
    assert names["Guard"]("http://127.0.0.1:9", tenant_id="acme").ask()["verdict"] == "allow"
    with pytest.raises(names["Stopped"]):
        names["Guard"]("http://127.0.0.1:9", tenant_id="acme", fail="closed").ask()
