"""Verbs are tried where no stack has ever been, whatever the folder of the repository holds."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USAGE_STREAMS_DATA", str(tmp_path / "no-stack"))
