"""A broken environment is one line with a remedy and exit code 2; nothing is half-applied. As the console script says it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.ports import free_port

RUN = [sys.executable, "-m", "streams.cli.main"]
NOBODY = f"127.0.0.1:{free_port(0)}"
PRICE = """
[[prices]]
provider = "openai"
model = "m"
bucket = "input_uncached"
unit_price = "0.000001"
currency = "USD"
effective_from = {day}T00:00:00Z
source = "test"
"""


def refused(*arguments: str, **environment: str) -> str:
    """What it says on standard error, in one line; nothing on standard output."""
    import os

    done = subprocess.run(
        [*RUN, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    *said, line = done.stderr.strip().splitlines()
    assert all(one.startswith("port ") for one in said)  # that another stack has
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("topics",),
        ("emit", "-"),
        ("tail", "--no-follow"),
        ("commitments",),
        ("worker", "--stages", "meter"),
        ("rerate", "--unpriced"),
        ("void", "--where", "team=x"),
        ("alerts", "list"),
        ("alerts", "ack", "a"),
        ("exceptions", "approve", "a"),
        ("annotate", "v2"),
        ("check", "--tenant", "acme"),
    ],
)
def test_no_broker(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments, USAGE_STREAMS_BOOTSTRAP=NOBODY) == (
        f"usage-streams: kafka {NOBODY}: no broker answers; start one with `usage-streams up` or set USAGE_STREAMS_BOOTSTRAP"
    )


@pytest.mark.parametrize("arguments", [("query", "cost_by_team"), ("migrate",)])
def test_no_warehouse_and_no_password_in_the_message(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments, "--clickhouse-url", f"http://me:secret@{NOBODY}") == (
        f"usage-streams: clickhouse {NOBODY}: does not answer; start one with `usage-streams up` or set"
        " USAGE_STREAMS_CLICKHOUSE_URL"
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize(
    ("arguments", "who"),
    [
        (("query", "cost_by_team", "--clickhouse-url", "http://{}"), "clickhouse"),
        (("alerts", "list", "--bootstrap", "{}"), "kafka"),
    ],
)
def test_a_port_that_something_silent_holds_is_said_within_seconds(
    arguments: tuple[str, ...], who: str, silent: str
) -> None:
    started = time.monotonic()

    said = refused(*(a.format(silent) for a in arguments))

    assert said.startswith(
        f"usage-streams: {who} {silent}: says nothing for 10 s, perhaps another program has its port; "
    )
    assert time.monotonic() - started < 25


def test_a_stack_that_is_down_is_not_mistaken_for_whoever_has_its_ports(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()

    said = refused("alerts", "list", USAGE_STREAMS_DATA=str(tmp_path))

    assert said == (
        f"usage-streams: the stack in {tmp_path} does not run; `usage-streams up` starts it, or set where another one is"
        " (USAGE_STREAMS_BOOTSTRAP, USAGE_STREAMS_CLICKHOUSE_URL)"
    )
    assert "no broker answers" in refused("alerts", "list", "--bootstrap", NOBODY, USAGE_STREAMS_DATA=str(tmp_path))


def test_a_wrong_setting() -> None:
    assert "set USAGE_STREAMS_CHUNK" in refused("topics", USAGE_STREAMS_CHUNK="many")


def test_a_java_that_cannot_run_kafka(tmp_path: Path) -> None:
    environment = {
        "JAVA_HOME": "/nowhere",
        "USAGE_STREAMS_API_PORT": "0",
    }  # a port that another stack has is a line more

    assert "unset it to use the wheel's" in refused("up", "--data", str(tmp_path), **environment)


def test_prices_that_overlap_are_refused_before_anything_is_published(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(PRICE.format(day="2026-01-01") + PRICE.format(day="2026-02-01"))

    said = refused("apply", str(tmp_path), "--yes", "--bootstrap", NOBODY)  # says so before it looks for a broker

    assert "openai/m/input_uncached" in said
    assert "overlaps" in said


@pytest.mark.parametrize("verb", [("apply", "CATALOG"), ("catalog", "update")])
def test_nobody_at_the_terminal_is_no_consent(verb: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(PRICE.format(day="2026-01-01"))
    arguments = [str(tmp_path) if a == "CATALOG" else a for a in verb]

    said = refused(*arguments, "--bootstrap", NOBODY)

    name = verb[0] if verb[0] == "apply" else " ".join(verb)
    assert said == (
        f"usage-streams: {name}: standard input is no terminal, so nobody can be asked; --yes publishes, --dry-run shows"
    )


def test_a_catalog_that_is_not_there() -> None:
    assert "`usage-streams init DIR` writes one" in refused("apply", "/nowhere", "--yes")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "nothing.jsonl" in refused("price", str(tmp_path / "nothing.jsonl"))


def test_a_folder_where_data_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "file" in refused("up", "--data", str(tmp_path / "file" / "data"))
