"""Up to where a log is stored: one row after each acknowledged insert; what lies above the highest is inserted again."""

from collections.abc import Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client


@dataclass(frozen=True, slots=True)
class Mark:
    """The last stored offset of one partition of a topic; `source_to` is the high-water mark of its chain."""

    topic: str
    partition: int
    offset: int = -1
    stream: str = ""
    source_to: int = -1


def read_mark(client: Client, topic: str, partition: int) -> Mark:
    """The highest mark there is; offset -1 when nothing is stored."""
    rows = client.query(
        "SELECT ledger_offset, stream, source_to FROM usage.ledger_marks"
        " WHERE topic = {topic:String} AND partition = {partition:Int32} ORDER BY ledger_offset DESC LIMIT 1",
        parameters={"topic": topic, "partition": partition},
    ).result_rows
    return Mark(topic, partition, *rows[0]) if rows else Mark(topic, partition)


def write_mark(client: Client, mark: Mark) -> None:
    """Only after everything up to it is acknowledged."""
    client.command(
        "INSERT INTO usage.ledger_marks (topic, partition, ledger_offset, stream, source_to)"
        " VALUES ({topic:String}, {partition:Int32}, {offset:Int64}, {stream:String}, {to:Int64})",
        parameters={
            "topic": mark.topic,
            "partition": mark.partition,
            "offset": mark.offset,
            "stream": mark.stream,
            "to": mark.source_to,
        },
    )


def stored_marks(client: Client, topic: str) -> dict[int, int]:
    """Partition -> the last stored offset of a topic."""
    rows = client.query(
        "SELECT partition, max(ledger_offset) FROM usage.ledger_marks WHERE topic = {topic:String} GROUP BY partition",
        parameters={"topic": topic},
    ).result_rows
    return {int(partition): int(offset) for partition, offset in rows}


def count_stored(client: Client, marks: Mapping[int, int]) -> int:
    """Rated rows up to the marks: whatever is being inserted above them does not count yet."""
    rows = client.query(
        "SELECT count() FROM usage.rated_rows FINAL"  # a corrected row keeps the place of the batch that rated it
        " WHERE ledger_offset <= transform(partition, {partitions:Array(Int32)}, {offsets:Array(Int64)}, toInt64(-1))",
        parameters={"partitions": list(marks), "offsets": list(marks.values())},
    ).result_rows
    return int(rows[0][0])
