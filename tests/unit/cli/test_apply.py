"""What `apply` shows before it publishes: which entries, which fields, from what to what."""

from streams.catalog.models import Catalog
from streams.catalog.parse import parse_files
from streams.cli.apply import detailed

PERIOD = 'period = { kind = "calendar", every = "day" }'


def catalog(**limits: str) -> Catalog:
    text = "".join(f'[[budgets]]\nid = "{name}"\nlimit = "{limit}"\n{PERIOD}\n' for name, limit in limits.items())
    return parse_files({"budgets.toml": text}) if text else Catalog()


def test_a_change_is_shown_with_its_field_what_comes_and_goes_with_its_name() -> None:
    old, new = catalog(day="10", gone="1", same="3"), catalog(day="12", same="3", fresh="2")

    assert detailed(old, new) == ["budgets: - gone", "budgets: + fresh", "budgets: day limit 10 -> 12"]


def test_nothing_is_shown_where_nothing_changes() -> None:
    assert detailed(catalog(day="10"), catalog(day="10")) == []


def test_much_is_shown_as_counts() -> None:
    many = catalog(**{f"b{n}": "1" for n in range(30)})

    assert detailed(None, many) == ["budgets: +30 -0"]


def test_entries_of_one_name_are_told_apart() -> None:
    text = "".join(f'[[requirements]]\ntenant = "a"\nenvironment = "{e}"\nrequired = ["owner"]\n' for e in ("x", "y"))

    assert detailed(None, parse_files({"r.toml": text})) == ["requirements: + a", "requirements: + a (2)"]
