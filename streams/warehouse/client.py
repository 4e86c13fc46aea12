"""The one way to reach ClickHouse: HTTP, with the settings pinned whose defaults changed between releases."""

import asyncio
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import clickhouse_connect
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from streams.outside import Away

PING_SECONDS = 10.0
PINNED: dict[str, object] = {
    "async_insert": 0,  # default 1 since 26.2: an acknowledgement must mean stored
    "insert_deduplicate": 1,
    "max_partitions_per_insert_block": 0,  # a backfill over many months is one batch too
}
# Too many parts, busy, out of memory, read-only, timed out; and tables that `usage-streams migrate` has yet to make.
TRANSIENT = {60, 81, 159, 164, 202, 209, 210, 241, 242, 252, 279}
CODE = re.compile(r"code:? (\d+)", re.IGNORECASE)
P = ParamSpec("P")
R = TypeVar("R")


class WarehouseAway(Away):
    """ClickHouse does not answer, or not now."""


def is_away(error: BaseException) -> bool:
    """Whether asking again with the same bytes can help."""
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
        found = CODE.search(str(error))
        return found is not None and int(found[1]) in TRANSIENT
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)


async def ask(function: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
    """A call of the warehouse in a thread; WarehouseAway when it does not answer, or not now."""
    try:
        return await asyncio.to_thread(function, *args, **named)
    except (ClickHouseError, OSError) as error:
        if is_away(error):
            first = str(error).splitlines()[0] if str(error) else repr(error)
            raise WarehouseAway(f"clickhouse: {first}; start it, or run `usage-streams migrate`") from error
        raise


def _answers(url: str) -> None:
    """WarehouseAway when whoever has the port says nothing; the limit of a query, which may take minutes, notices too late."""
    there = urlsplit(url)
    if there.scheme in getproxies():  # the client goes that way, and a direct one may not exist
        return
    port = there.port or (8443 if there.scheme == "https" else 8123)
    try:
        # Any answer will do, also a refusal; what else is wrong is said by the client, which knows more.
        urllib3.request(
            "GET", f"{there.scheme}://{there.hostname}:{port}/ping", timeout=PING_SECONDS, retries=False, redirect=False
        )
    except urllib3.exceptions.NewConnectionError:  # is a TimeoutError too
        return
    except urllib3.exceptions.TimeoutError as error:
        raise WarehouseAway(
            f"clickhouse {there.hostname}:{port}: says nothing for {PING_SECONDS:.0f} s, perhaps another program has"
            " its port; start one with `usage-streams up` or set USAGE_STREAMS_CLICKHOUSE_URL"
        ) from error
    except (urllib3.exceptions.HTTPError, ValueError):
        return


def connect(url: str) -> Client:
    """A client for one thread; sessionless, so that requests never wait for each other. WarehouseAway when none answers."""
    _answers(url)
    try:
        return clickhouse_connect.get_client(dsn=url, settings=PINNED, autogenerate_session_id=False)
    except (ClickHouseError, OSError) as error:
        if is_away(error):
            there = urlsplit(url)  # its user and password stay here
            raise WarehouseAway(
                f"clickhouse {there.hostname}:{there.port}: does not answer; start one with `usage-streams up` or set"
                " USAGE_STREAMS_CLICKHOUSE_URL"
            ) from error
        raise
