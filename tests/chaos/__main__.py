"""`make chaos`: every test that kills, stalls or duplicates, on a live stack; the last line is one JSON object."""

import json
import sys
import time
from typing import Any

import pytest


class Collector:
    """Outcome of each test, and the conservation difference that it measured."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.differences: list[int] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome != "failed":
            return
        self.outcomes[report.nodeid.partition("::")[2]] = report.outcome
        self.differences += [int(value) for name, value in report.user_properties if name == "difference"]


def main(arguments: list[str]) -> int:
    """Exit code of pytest; arguments go to it."""
    found, started = Collector(), time.monotonic()
    code = int(pytest.main(["-m", "chaos", *arguments], plugins=[found]))
    outcomes = list(found.outcomes.values())
    report = {
        "tests": found.outcomes,
        "passed": outcomes.count("passed"),
        "failed": outcomes.count("failed"),
        "measured": len(found.differences),
        "difference": sum(found.differences) if found.differences else None,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
