"""The starter catalog: what it says is valid, and so is every example that stands behind a `#` in it."""

import re
from decimal import Decimal

from streams.catalog.parse import parse_files
from streams.resources import catalog_folder

WRITTEN = re.compile(r"# ?(\[\[\w+\]\]|\w+ = .*|  \{.*\},|\]) *$")  # a line of TOML behind a sign; prose is none


def uncommented(text: str) -> str:
    return "\n".join(m[1] if (m := WRITTEN.match(line)) else line for line in text.splitlines())


def test_the_starter_catalog_and_all_its_examples_hold_together() -> None:
    texts = {path.name: path.read_text() for path in sorted(catalog_folder().glob("*.toml"))}
    shown = texts | {name: uncommented(texts[name]) for name in ("budgets.toml", "rules.toml")}

    own, with_examples = parse_files(texts), parse_files(shown)

    assert len(with_examples.budgets) == len(own.budgets) + 5
    assert len(with_examples.rules) == len(own.rules) + 4
    assert (len(with_examples.exceptions), len(with_examples.silences), len(with_examples.maintenance)) == (1, 1, 1)


def test_the_demo_s_alerts_are_those_of_its_own_budgets() -> None:
    own = parse_files({path.name: path.read_text() for path in sorted(catalog_folder().glob("*.toml"))})

    assert {b.id for b in own.budgets} == {"team-rolling-day", "tenant-month"}
    assert [(r.id, r.cost, r.iterations, r.repeats) for r in own.runs] == [("agent-run", Decimal(5), 200, 5)]
