"""Finds the Avro schemas, the SQL and the examples, in a checkout or inside an installed wheel; and the cache."""

import os
from pathlib import Path

_HERE = Path(__file__).parent


def _folder(bundled: str, checkout: str) -> Path:
    inside = _HERE / "_bundled" / bundled
    return inside if inside.is_dir() else _HERE.parent / checkout


def schema_text(name: str) -> str:
    """Text of schemas/avro/NAME.avsc."""
    return (_folder("avro", "schemas/avro") / f"{name}.avsc").read_text()


def earlier_schemas(name: str) -> list[str]:
    """Texts of the released versions before it, schemas/avro/NAME_N.avsc: what producers of before still write."""
    return [path.read_text() for path in sorted(_folder("avro", "schemas/avro").glob(f"{name}_*.avsc"))]


def sql_folder() -> Path:
    """Folder of migrations and named queries."""
    return _folder("clickhouse", "sql/clickhouse")


def catalog_folder() -> Path:
    """Folder of the example catalog."""
    return _folder("catalog", "deploy/catalog")


def examples_folder() -> Path:
    """Folder of examples that are no part of a catalog."""
    return _folder("examples", "deploy/examples")


def cache_folder() -> Path:
    """Where downloads are kept: USAGE_STREAMS_CACHE, or ~/.cache/llm-usage-streams."""
    return Path(os.environ.get("USAGE_STREAMS_CACHE") or Path.home() / ".cache" / "llm-usage-streams")
