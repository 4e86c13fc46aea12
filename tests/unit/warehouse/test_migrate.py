import shutil
from pathlib import Path

import pytest

from streams.catalog.dimensions import DIMENSIONS
from streams.resources import sql_folder
from streams.warehouse.migrate import MigrationError, migrations
from streams.warehouse.queries import UnknownQuery, names, sql_of
from tests.support.events import avro
from tests.unit.pipeline.test_settle import run


def test_every_migration_is_what_was_released() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(m.statements() for m in migrations())


def test_an_edited_released_migration_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(sql_folder(), folder)
    with (folder / "0001_create_rated_rows.sql").open("a") as file:
        file.write("-- edited\n")

    with pytest.raises(MigrationError, match=r"differs from migrations\.sha256"):
        migrations(folder)


def test_every_query_says_its_question() -> None:
    assert all(sql_of(name).startswith("-- Question: ") for name in names())


def test_the_events_of_an_alert_are_found_by_every_dimension() -> None:
    sql = sql_of("alert_events")

    assert [name for name in DIMENSIONS if f"'{name}', ifNull" not in sql] == ["tenant_id"]  # which is a parameter


def test_an_unknown_query_names_those_there_are() -> None:
    with pytest.raises(UnknownQuery, match="cost_by_team"):
        sql_of("nothing")


def test_every_column_of_a_ledger_row_has_its_place_in_the_table() -> None:
    rows, *_ = run([avro(1)._replace(offset=0)], 1)
    table = "".join(m.text for m in migrations())
    missing = [
        name
        for name in rows.columns
        if f"    {name} " not in table and f"ADD COLUMN IF NOT EXISTS {name} " not in table
    ]

    # The place in the ledger has other names: stream, partition and ledger_offset are added by the insert.
    assert missing == []
