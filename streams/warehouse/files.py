"""Where the SQL is: in the wheel, or in the checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def sql_folder() -> Path:
    """The folder that holds the migrations and `queries/`."""
    for folder in (PACKAGE / "_bundled" / "clickhouse", PACKAGE.parent / "sql" / "clickhouse"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("sql/clickhouse: is not in this installation; install the wheel again")
