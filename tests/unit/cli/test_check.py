"""`check` and `api` on the command line: what is asked of the API, exit codes, refusals in one line."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner

from streams.catalog.models import Catalog
from streams.cli import main
from streams.cli.check import parameters_of
from streams.doors.asking import ENCODE
from streams.watch.check import Question, check
from streams.watch.coverage import coverage_of
from tests.support.knowledge import NOW, knowing, record
from tests.unit.watch.test_check import ACME, COMPANY, TEAM, TEAM_KEY

if not main.app.registered_commands:
    main.mount()


class Double:
    """An API that gives answers in turn, the last one for good, and keeps what it was asked."""

    def __init__(self, answers: list[tuple[int, bytes]]) -> None:
        asked = self.asked = list[tuple[list[tuple[str, str]], str]]()
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((parse_qsl(urlsplit(self.path).query), self.headers.get("Authorization", "")))
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def answer(used: str) -> tuple[int, bytes]:
    known = knowing(record(TEAM_KEY, used), record("company|tenant_id=acme", "1", "100"))
    return 200, ENCODE(check(coverage_of(Catalog(budgets=(COMPANY, TEAM))), known, Question(ACME), NOW))


def worded(text: str) -> tuple[int, bytes]:
    status, body = answer("10")
    return status, json.dumps(json.loads(body) | {"text": text}).encode()


def problem(status: int, detail: str) -> tuple[int, bytes]:
    return status, json.dumps({"status": status, "detail": detail}).encode()


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[Double]:
    double = Double(request.param)
    yield double
    double.server.shutdown()
    double.server.server_close()


def run(api: Double, *arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(main.app, ["check", *arguments], env={"USAGE_STREAMS_API_URL": api.url, **environment})


@pytest.mark.parametrize(
    ("api", "code", "first"),
    [
        ([answer("1")], 0, "allow team|tenant_id=acme|team=search: 1 of 10 USD used; 9 USD may be spent"),
        ([answer("9")], 0, "warn team|tenant_id=acme|team=search: 9 of 10 USD used; 1 USD may be spent"),
        ([answer("10")], 1, "stop team search: 10 of 10 USD used; nothing may be spent"),
    ],
    indirect=["api"],
)
def test_the_verdict_is_the_exit_code_and_the_first_line(api: Double, code: int, first: str) -> None:
    said = run(api, "--tenant", "acme", "--dim", "team=search", "--amount", "0.5", USAGE_STREAMS_API_TOKEN="us_x")

    assert said.exit_code == code
    assert said.stdout.splitlines()[0] == first
    assert "company|tenant_id=acme" in said.stdout
    assert api.asked == [([("tenant", "acme"), ("team", "search"), ("amount", "0.5")], "Bearer us_x")]


@pytest.mark.parametrize("api", [[worded("Ask for it to be raised.")]], indirect=True)
def test_a_sentence_of_people_is_not_followed_by_a_stop_and_a_semicolon(api: Double) -> None:
    said = run(api, TEAM_KEY)

    assert said.stdout.splitlines()[0] == "stop Ask for it to be raised; nothing may be spent"


@pytest.mark.parametrize("api", [[answer("10"), problem(503, "away"), answer("10"), answer("3")]], indirect=True)
def test_wait_asks_again_until_it_may_be_spent(api: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cli.check.WAIT_SECONDS", 0.01)

    said = run(api, TEAM_KEY, "--wait", "--json")

    assert (said.exit_code, json.loads(said.stdout)["verdict"], len(api.asked)) == (0, "allow", 4)


@pytest.mark.parametrize("api", [[problem(404, "scope x|tenant_id=a: no budget is called x; take one")]], indirect=True)
@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_what_the_api_refuses_is_one_line_and_waiting_cannot_help(api: Double, wait: list[str]) -> None:
    said = run(api, "x|tenant_id=a", *wait)

    assert (said.exit_code, said.stderr) == (2, "usage-streams: scope x|tenant_id=a: no budget is called x; take one\n")


@pytest.mark.parametrize("api", [[answer("1")]], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --tenant and what else the request's event will say"),
        (["x|tenant_id=a", "--tenant", "a"], "give --tenant and what else the request's event will say"),
        (["--tenant", "a", "--dim", "team"], "team: write it as name=value, such as team=search"),
    ],
)
def test_a_question_that_is_none_is_not_asked(api: Double, arguments: list[str], message: str) -> None:
    said = run(api, *arguments)

    assert said.exit_code == 2
    assert message in " ".join(said.output.replace("│", " ").split())
    assert api.asked == []


def test_parameters_are_those_of_the_api() -> None:
    assert parameters_of(["k"], "", [], "1", "tokens", "") == [("scope", "k"), ("amount", "1"), ("unit", "tokens")]


def test_a_new_token_is_printed_once_with_its_entry() -> None:
    said = CliRunner().invoke(main.app, ["api", "--new-token", "gateway"]).stdout

    assert said.startswith("# the token, shown this once: us_")
    assert '[[tokens]]\nname = "gateway"\nhash = "sha256:' in said


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--host", "0.0.0.0"], {}, "api_host 0.0.0.0: is not loopback, and there are no tokens"),
        ([], {"USAGE_STREAMS_LINK_SECRET": "plain"}, "link_secret: is no reference"),
        ([], {"USAGE_STREAMS_API_TOKENS": "/nowhere.toml"}, "api_tokens /nowhere.toml: No such file"),
    ],
)
def test_an_api_that_would_be_open_or_cannot_be_guarded_does_not_start(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    said = CliRunner().invoke(main.app, ["api", *arguments], env=environment)

    assert message in str(said.exception)
