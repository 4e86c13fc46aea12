"""The one way to reach ClickHouse: HTTP, with the settings pinned whose defaults changed between releases."""

import clickhouse_connect
from clickhouse_connect.driver.client import Client

PINNED: dict[str, object] = {
    "async_insert": 0,  # default 1 since 26.2: an acknowledgement must mean stored
    "insert_deduplicate": 1,
    "max_partitions_per_insert_block": 0,  # a backfill over many months is one batch too
}


def connect(url: str) -> Client:
    """A client for one thread; sessionless, so that requests never wait for each other."""
    return clickhouse_connect.get_client(dsn=url, settings=PINNED, autogenerate_session_id=False)
