"""The engine behind ClickHouse's HTTP interface: what clickhouse-connect needs of a server."""

import asyncio
from decimal import Decimal

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from streams.settings import Settings

pytestmark = pytest.mark.integration


def test_money_comes_back_to_the_last_digit(client: Client) -> None:
    row = client.query("SELECT toDecimal128('12345678901234567890.123456789012345678', 18)").first_row

    assert row == (Decimal("12345678901234567890.123456789012345678"),)


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_every_block_of_a_large_insert_arrives(settings: Settings, compression: str | bool) -> None:
    client = clickhouse_connect.get_client(dsn=settings.clickhouse_url, compress=compression)
    client.command("CREATE TABLE IF NOT EXISTS default.blocks (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    client.command("TRUNCATE TABLE default.blocks")

    client.insert("default.blocks", [[i, "x" * 30] for i in range(150_000)], column_names=["a", "s"])

    assert client.query("SELECT count(), sum(a) FROM default.blocks").first_row == (150_000, 150_000 * 149_999 // 2)
    assert len(client.query("SELECT a, s FROM default.blocks").result_rows) == 150_000
    client.close()


def test_an_error_keeps_its_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT * FROM nowhere")
    with pytest.raises(DatabaseError, match="code: 115"):
        client.command("SELECT 1", settings={"no_such_setting": 1})


def test_settings_of_one_request_do_not_leak_into_the_next(client: Client) -> None:
    name = "SELECT value FROM system.settings WHERE name = 'max_result_rows'"

    (first,) = client.query(name, settings={"max_result_rows": 17}).result_rows[0]
    (second,) = client.query(name).result_rows[0]

    assert (first, second) == ("17", "0")


def test_parameters_are_bound_by_the_engine_not_pasted(client: Client) -> None:
    evil = "x' OR 1 = 1 --"

    assert client.query("SELECT {v:String}", parameters={"v": evil}).first_row == (evil,)


async def test_many_clients_at_once_are_served(settings: Settings) -> None:
    async def one(number: int) -> int:
        client = await clickhouse_connect.get_async_client(dsn=settings.clickhouse_url)
        try:
            return int((await client.query(f"SELECT sum(number) + {number} FROM numbers(100000)")).result_rows[0][0])
        finally:
            await client.close()

    assert await asyncio.gather(*(one(i) for i in range(16))) == [4_999_950_000 + i for i in range(16)]


async def test_a_client_that_goes_away_in_the_middle_blocks_nobody(settings: Settings, client: Client) -> None:
    host, port = settings.clickhouse_url.removeprefix("http://").split(":")
    for _ in range(10):  # more than the gateway has threads
        reader, writer = await asyncio.open_connection(host, int(port))
        query = "SELECT%20number%20FROM%20numbers(50000000)%20FORMAT%20TSV"
        writer.write(f"GET /?query={query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1_000)
        writer.close()

    assert await asyncio.to_thread(lambda: client.query("SELECT 1").first_row) == (1,)
