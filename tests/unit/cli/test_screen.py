"""What verbs print is text: no name of an event moves the cursor, colours anything or writes a link into a terminal."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.tree import Tree

from streams import cli
from streams.cli import alerts, alerts_explained, check, deliveries, query
from streams.cli.screen import Screen, Table, marked, tell
from streams.notify.delivery import Delivery
from tests.support.notifying import alert

HOSTILE = "\x1b[2J\x1b[H\x1b]8;;http://evil\x1b\\x\x9b31m\x07\r\u202e [red]y[/red] :bomb:"
CODES = re.compile(r"\x1b\[[0-9;]*m")  # our own colours


def screen() -> Screen:
    return Screen(file=io.StringIO(), force_terminal=True, width=400, highlight=False)


def written(one: Screen) -> str:
    return CODES.sub("", one.file.getvalue())  # type: ignore[attr-defined]  # it writes into a StringIO


def check_inert(text: str) -> None:
    assert re.findall(r"[^\n\x20-\x7e\xa0-\u2027\u2030-\u2065\u206a-\U0010ffff]", text) == []
    assert "[red]y[/red] :bomb:" in text


def test_a_cell_a_column_and_a_line_are_text() -> None:
    one, table = screen(), Table(HOSTILE, box=None)
    table.add_row(HOSTILE)
    table.add_row(marked(HOSTILE, "red"))

    one.print(table)
    one.print(HOSTILE)
    one.print(marked(HOSTILE, "bold"), HOSTILE)

    check_inert(written(one))
    assert written(one).count("[red]y[/red]") == 6


def test_what_is_inside_of_something_else_is_without_control_characters() -> None:
    one, tree = screen(), Tree(marked(HOSTILE, "bold"))
    tree.add(marked(HOSTILE, ""))

    one.print(tree)

    check_inert(written(one))


def test_our_own_colours_stay() -> None:
    one = screen()

    one.print(marked("stop", "red"), "at once")

    assert one.file.getvalue() == "\x1b[31mstop\x1b[0m at once\n"  # type: ignore[attr-defined]  # a StringIO


@pytest.mark.parametrize("err", [False, True])
def test_a_message_keeps_its_lines_and_nothing_else(err: bool, capsys: pytest.CaptureFixture[str]) -> None:
    tell(f"usage-streams: {HOSTILE}\n  second", err)

    said = capsys.readouterr()[int(err)]
    check_inert(said)
    assert said.count("\n") == 2


def named(**other: Any) -> dict[str, Any]:
    names = ("tenant_id", "budget_id", "owner", "accountable", "scope", "summary", "runbook", "query")
    causes = [{"dimension": "model", "value": HOSTILE, "amount": "1", "share": "0.5"}]
    given = dict.fromkeys(names, HOSTILE) | {"dimensions": {"team": HOSTILE}, "contributors": causes}
    return alert(**(given | other))


def explanation() -> dict[str, Any]:
    event = {"event_id": HOSTILE, "model": HOSTILE}
    note = {"at": "2026-11-18T10:00:00Z", "type": "deploy", "text": HOSTILE, "by": HOSTILE, "link": HOSTILE}
    taken = named(state="acknowledged", acknowledged={"by": HOSTILE, "at": "2026-11-18T10:00:00Z", "note": HOSTILE})
    return {
        "alert": taken, "silences": [{"until": "2026-11-18T10:00:00Z", "reason": HOSTILE, "id": "s"}], "thresholds": [],
        "contributors": taken["contributors"], "history": [taken], "annotations": [note], "events": [event],
        "events_problem": None,
    }  # fmt: skip


def test_no_verb_writes_a_name_as_anything_but_text(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery(
        delivery_id=HOSTILE, alert_id=HOSTILE, revision=1, endpoint=HOSTILE, route="r", group="g", partition=0, offset=0,
        status="failed", at=0, queued_at=0, error=HOSTILE,
    )  # fmt: skip
    scope = {
        "scope": HOSTILE, "verdict": "stop", "used": "1", "limit": "1", "headroom": "0", "percent": "100", "as_of": HOSTILE,
        "staleness_ms": 1, "currency": HOSTILE, "measure": None, "unit": "cost",
    }  # fmt: skip
    answer = {
        "verdict": "stop", "text": HOSTILE, "scopes": [scope], "unit": "cost", "allowed": "0", "degraded": False,
    }  # fmt: skip
    shown: dict[str, Callable[[Screen], None]] = {
        "alerts list": lambda one: alerts.show([named()], one),
        "alerts explain": lambda one: alerts_explained.show_explained(explanation(), one),
        "query": lambda one: query.show([{HOSTILE: HOSTILE, "b": [HOSTILE]}], one),
        "notify deliveries": lambda one: deliveries.show([delivery]),
        "check": lambda one: check.show(answer),
    }
    for verb, show in shown.items():
        one = screen()
        for module in (deliveries, check):
            monkeypatch.setattr(module, "console", lambda one=one: one)

        show(one)

        assert written(one), verb
        check_inert(written(one))


def test_every_verb_prints_by_the_screen() -> None:
    #  what writes past it: rich itself, or an echo of anything but JSON and constants
    past = re.compile(r"from rich\.(table|console|markup) import|\bprint\(f?\"|typer\.echo\((?!json\.dumps)")
    may = {"screen.py", "explained.py"}
    constants = {'typer.echo(f"# the token', "typer.echo(example()", "typer.echo(__version__"}
    for path in sorted(Path(cli.__file__).parent.glob("*.py")):
        for line in path.read_text().splitlines() if path.name not in may else ():
            found = past.search(line)
            if found and ".print(" not in line and not any(known in line for known in constants):
                pytest.fail(f"{path.name}: {line.strip()}; print by streams.cli.screen")
