"""The demo as a user runs it: exact, or it fails."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def test_the_demo_ends_with_no_difference_and_stops_its_stack(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.cli.main", "demo", "--speed", "600", "--exit", "--json", "--data"]

    done = subprocess.run([*command, str(tmp_path / "d")], capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["differences"] == []
    assert report["conservation"]["difference"] == 0
    ran = report["runaway"]
    assert report["conservation"]["rated"] == 31_397 + ran["requests"]
    assert ran["requests"] >= ran["crossing"] == 25  # 25 requests of 0.2025 USD reach the limit of 5
    assert "check says stop" in done.stderr
    assert "kill -9" in done.stderr
    figures = {f["what"]: f["actual"] for f in report["figures"]}
    assert figures["without a price"] == 0  # the last of two lines of that name: after the price came
    assert Decimal(str(figures["USD the difference"])) > 0
    assert not (tmp_path / "d" / "stack.json").exists()
