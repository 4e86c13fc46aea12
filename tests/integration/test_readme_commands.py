"""Every command of the README is run, in its order, as a newcomer would."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.cli.up import take_down
from tests.support.stages import until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    take_down(tmp_path / ".usage-streams")


def shell(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-x", "-c", script], cwd=home, env=os.environ | {"PATH": path}, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip


def test_the_make_commands_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))

    assert {"demo", "test", "bench"} <= named <= targets  # demo: test_demo.py; test: this very run


def test_the_first_event_works_as_it_is_written(home: Path) -> None:
    script, looks, asked, corrections, people, *_ = [b for b in blocks("sh") if "usage-streams" in b]
    up_to_status, rest = script.split("usage-streams status", 1)
    assert rest.rstrip().endswith("usage-streams down")

    first = shell(up_to_status, home)
    assert first.returncode == 0, first.stdout + first.stderr
    assert '"pricing_status": "priced"' in first.stdout
    python = home / "send.py"
    stack = json.loads((home / ".usage-streams" / "stack.json").read_text())
    [code] = blocks("python")
    python.write_text(code.replace("127.0.0.1:9092", stack["bootstrap"]))
    sent = subprocess.run([sys.executable, str(python)], capture_output=True, text=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stderr

    def stored() -> bool:
        said = shell("usage-streams status --json", home)
        found = json.loads(said.stdout)["conservation"] if said.returncode == 0 else {}
        return (found.get("rated"), found.get("stored"), found.get("difference")) == (2, 2, 0)

    until(stored, 60, "two events stored", lambda: shell("usage-streams status", home).stdout)
    tail = "usage-streams tail budgets --no-follow"
    until(lambda: '"verdict"' in shell(tail, home).stdout, 60, "a verdict", lambda: shell(tail, home).stderr)
    (home / "list.json").write_text('{"gpt-5-mini": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-07}}')
    looks = looks.replace("--against litellm", "--against list.json").replace("--from pypi", "--dry-run")  # no download
    for command in looks.splitlines():
        looked = shell(command, home)
        assert looked.returncode in (0, 1), f"{command}: {looked.stdout}{looked.stderr}"  # 1: lint has findings
        assert "Traceback" not in looked.stderr
    assert "gpt-5-mini" in shell(looks.splitlines()[0], home).stdout
    for command in asked.replace("http://127.0.0.1:8686", stack["api_url"]).splitlines():
        told = shell(command, home)
        assert told.returncode in (0, 1), f"{command}: {told.stdout}{told.stderr}"  # 1: not everything may be spent
        assert "Traceback" not in told.stderr
    prices = home / "my-catalog" / "prices.toml"
    prices.write_text(prices.read_text().replace('unit_price = "0.00000025"', 'unit_price = "0.0000005"'))
    theirs = {"2026-11-01": "2020-01-01", "2026-12-01": "2100-01-01", "gpt-5.2": "gpt-5-mini", "run_id=": "session_id="}
    for example, own in theirs.items():
        corrections = corrections.replace(example, own)
    mended = shell(corrections, home)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "would change 2 events" in mended.stdout
    assert "changed 2 events" in mended.stdout
    assert "USD: old 0.0018, new 0.0024, difference 0.0006" in mended.stdout  # 2 x 1,200 x 0.00000025 more
    batch, *acts = people.replace("\\\n", "").replace("2027-", "2100-").splitlines()
    assert shell(batch, home).returncode == 0
    listed = "usage-streams alerts list --tenant acme --json"
    until(lambda: len(json.loads(shell(listed, home).stdout)) == 1, 60, "an alert", lambda: shell(listed, home).stderr)
    [one] = json.loads(shell(listed, home).stdout)
    assert (one["budget_id"], one["threshold"], one["percent"]) == ("team-rolling-day", "0.8", "85.2")
    for command in acts:
        done = shell(command.replace("3f9c", one["alert_id"][:8]), home)
        is_list = "alerts list" in command  # which finds something
        assert done.returncode == is_list, f"{command}: {done.stdout}{done.stderr}"
    second = shell(f"usage-streams status{rest}", home)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "stored 102; difference 0" in second.stdout
    assert "search" in second.stdout
    assert "team-rolling-day" in second.stdout
    assert second.stdout.rstrip().endswith("stopped")
