"""Which rule an id means: one that goes and comes back under its id is another one, whose alerts have other ids."""

from collections.abc import Mapping

from streams.catalog.limits_problems import named_rules
from streams.catalog.models import Catalog
from streams.watch.scopes import rule_of

FIRST_VERSION = 1  # whose rules' ids were never others'


def since_of(known: Mapping[str, int], old: Catalog, versions: Mapping[int, Catalog]) -> dict[str, int]:
    """rule -> version from which on every one has it. known: as of `old`; versions: all that came after it.

    Of the log of catalogs alone, whichever versions a watch saw: one that starts anew finds the ids of the one before it.
    """
    found, had = dict(known), named_rules(old)
    for number, catalog in sorted(versions.items()):
        has = named_rules(catalog)
        found = {name: at for name, at in found.items() if name in has} | dict.fromkeys(sorted(has - had), number)
        had = has
    return found


def identity_of(key: str, since: Mapping[str, int]) -> str:
    """What ids of a scope's records are made of."""
    version = since.get(rule_of(key), FIRST_VERSION)
    return key if version == FIRST_VERSION else f"{key}\n{version}"
