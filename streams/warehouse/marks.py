"""Up to where a log is stored: one row after each acknowledged insert; what lies above the highest is inserted again."""

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
