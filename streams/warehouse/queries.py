"""Named queries: one question a file under sql/clickhouse/queries, typed parameters, bound by the server."""

import re
from collections.abc import Mapping

from clickhouse_connect.driver.client import Client

from streams.resources import sql_folder

PARAMETER = re.compile(r"\{(\w+):([^}]+)\}")


class UnknownQuery(Exception):
    """No query has this name."""


def names() -> list[str]:
    """Every named query."""
    return sorted(path.stem for path in (sql_folder() / "queries").glob("*.sql"))


def sql_of(name: str) -> str:
    """The text of a named query; UnknownQuery lists the names there are."""
    if name not in names():
        raise UnknownQuery(f"query {name}: there is none of that name; take one of {', '.join(names())}")
    return (sql_folder() / "queries" / f"{name}.sql").read_text()


def question_of(name: str) -> str:
    """What a named query answers, in a sentence."""
    return sql_of(name).partition("-- Question: ")[2].partition("\n")[0]


def parameters_in(sql: str) -> dict[str, str]:
    """Name and type of the parameters of a query, in their order."""
    return dict(PARAMETER.findall(sql))


def optional_in(sql: str) -> set[str]:
    """Parameters that the query compares with nothing: left out they are empty, and mean all."""
    return set(re.findall(r"\{(\w+):String\} = ''", sql))


def run_query(client: Client, name: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
    """The rows of a named query, money as Decimal."""
    return list(client.query(sql_of(name), parameters=dict(parameters or {})).named_results())
