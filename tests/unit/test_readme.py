"""The README knows every setting, topic, command, metric and question; its commands are run in tests/integration."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import prometheus_client as prometheus
import pytest
from typer.testing import CliRunner

from streams import metrics
from streams.cli import main
from streams.kafka.topics import topics
from streams.resources import sql_folder
from streams.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONSOLE = re.findall(r"^```console\n\$ usage-streams (.*?)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        yield f"| `USAGE_STREAMS_{name.upper()}` | `{field.default}` | {field.description} |"


def commands() -> Iterator[str]:
    if not main.app.registered_commands:
        main.mount()
    groups = [
        (f"{g.name} ", g.typer_instance.registered_commands) for g in main.app.registered_groups if g.typer_instance
    ]
    for prefix, found in [("", main.app.registered_commands), *groups]:
        for command in found:
            text = " ".join((command.callback.__doc__ or "").split())
            yield f"| `{prefix}{command.name}` | {text.partition(' Example:')[0]} |"


def named_metrics() -> Iterator[str]:
    for value in vars(metrics).values():
        if isinstance(value, prometheus.metrics.MetricWrapperBase):
            [found] = value.describe()
            name = found.name + ("_total" if found.type == "counter" else "")
            yield f"| `{name}` | {found.documentation} |"


def questions() -> Iterator[str]:
    for path in sorted((sql_folder() / "queries").glob("*.sql")):
        yield f"| `{path.stem}` | {path.read_text().splitlines()[0].removeprefix('-- Question: ')} |"


def test_every_setting_is_listed_with_its_default() -> None:
    assert [row for row in settings() if row not in README] == []


def test_every_topic_is_listed() -> None:
    assert [topic.name for topic in topics(Settings()) if f"`{topic.name}`" not in README] == []


def test_every_command_is_listed_with_what_its_help_says() -> None:
    assert [row for row in commands() if row not in README] == []


def test_every_metric_is_listed() -> None:
    assert [row for row in named_metrics() if row not in README] == []


def test_every_named_question_is_listed() -> None:
    assert [row for row in questions() if row not in README] == []


@pytest.mark.parametrize(("command", "output"), CONSOLE)
def test_every_console_block_shows_what_the_command_prints(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not main.app.registered_commands:
        main.mount()
    monkeypatch.chdir(ROOT)

    said = CliRunner().invoke(main.app, shlex.split(command))

    assert [line.rstrip() for line in said.output.splitlines()] == output.splitlines()
