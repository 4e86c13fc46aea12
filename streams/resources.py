"""Finds the Avro schemas, the SQL, the example catalog and other examples, in a checkout or inside an installed wheel."""

from pathlib import Path

_HERE = Path(__file__).parent


def _folder(bundled: str, checkout: str) -> Path:
    inside = _HERE / "_bundled" / bundled
    return inside if inside.is_dir() else _HERE.parent / checkout


def schema_text(name: str) -> str:
    """Text of schemas/avro/NAME.avsc."""
    return (_folder("avro", "schemas/avro") / f"{name}.avsc").read_text()


def sql_folder() -> Path:
    """Folder of migrations and named queries."""
    return _folder("clickhouse", "sql/clickhouse")


def catalog_folder() -> Path:
    """Folder of the example catalog."""
    return _folder("catalog", "deploy/catalog")


def examples_folder() -> Path:
    """Folder of examples that are no part of a catalog."""
    return _folder("examples", "deploy/examples")
