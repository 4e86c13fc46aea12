"""No float meets money or a quantity: the contract, every declared schema of the pure core, the tables."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

import streams.catalog
import streams.pipeline
import streams.tokens
import streams.watch
from streams.resources import schema_text
from streams.tokens.dialects import DIALECTS
from streams.warehouse.migrate import migrations

CORE = (streams.pipeline, streams.tokens, streams.catalog, streams.watch)


def kinds(kind: Any) -> Iterator[Any]:
    """The type and every type inside it."""
    yield kind
    for part in getattr(kind, "fields", ()):
        yield from kinds(part.dtype)
    if inner := getattr(kind, "inner", None):
        yield from kinds(inner)


def schemas() -> Iterator[tuple[str, pl.Schema]]:
    for package in CORE:
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, pl.Schema):
                    yield f"{found.name}.{name}", value


def test_no_schema_of_the_core_holds_a_float() -> None:
    found = dict(schemas())
    floats = [f"{n}.{c}" for n, s in found.items() for c, kind in s.items() if any(k.is_float() for k in kinds(kind))]

    assert len(found) > 10
    assert floats == []


def test_the_contract_with_producers_has_no_float() -> None:
    types = json.dumps(json.loads(schema_text("usage_event")))

    assert not re.search(r'"(float|double)"', types)


@pytest.mark.parametrize("migration", migrations(), ids=lambda m: m.name)
def test_no_table_or_view_has_a_float(migration: Any) -> None:
    assert not re.search(r"\b(Float32|Float64|toFloat)", migration.text)


def test_no_block_of_a_provider_is_read_through_a_float() -> None:
    hints = [str(hint) for d in DIALECTS.values() for hint in getattr(d.kind, "__annotations__", {}).values()]

    assert not [hint for hint in hints if "float" in hint]
