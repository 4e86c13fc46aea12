"""Conservation: every source offset ends as rated, duplicate, dead, skipped or lost, and every rated row is stored once.

The ledger's headers account for all of it, so the check opens no rows. Difference 0 is the promise; anything else names what
is missing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from streams.kafka import topics
from streams.kafka.chained_log import ChainedLog
from streams.kafka.client import KafkaClient
from streams.kafka.commits import committed_offsets
from streams.pipeline.ledger import read_headers


@dataclass(frozen=True, slots=True)
class PartitionAccount:
    """One source partition; all but the last three count records. Lag is what the ledger does not cover yet."""

    partition: int
    produced: int
    covered: int
    rated: int
    duplicate: int
    dead: int
    skipped: int
    lost: int
    due: int  # of `rated`: what the warehouse says that it holds, by its mark
    vector: int  # last counted ledger offset
    committed: int
    lag_messages: int
    lag_seconds: float


async def account(kafka: KafkaClient, partition: int, committed: int, mark: int, now_ms: int) -> PartitionAccount:
    """Fold the headers of one ledger partition up to its present end. mark: the last ledger offset that is stored."""
    source = kafka.log(topics.EVENTS, partition)
    chained = ChainedLog(kafka.log(topics.RATED, partition))
    sums, due = dict.fromkeys(("rated", "duplicate", "dead", "skipped", "lost"), 0), 0
    for counted in await chained.fold():
        coverage, _ = read_headers(counted.message.headers)
        rated = int(dict(counted.message.headers)["rated"])
        due += rated if counted.message.offset <= mark else 0
        parts = (rated, len(coverage.duplicates), len(coverage.dead), len(coverage.skipped), len(coverage.lost))
        for name, value in zip(sums, parts, strict=True):
            sums[name] += value
    _, produced = await source.bounds()
    covered, lag_seconds = chained.chain.mark + 1, 0.0
    if produced > covered:
        async for message in source.read(covered, covered + 1):
            lag_seconds = max(0.0, (now_ms - message.timestamp) / 1000)
    return PartitionAccount(
        partition=partition,
        produced=produced,
        covered=covered,
        **sums,
        due=due,
        vector=chained.chain.last,
        committed=committed,
        lag_messages=produced - covered,
        lag_seconds=lag_seconds,
    )


async def accounts(kafka: KafkaClient, group: str, now_ms: int, marks: Mapping[int, int]) -> list[PartitionAccount]:
    """Every partition of usage.events; marks: the last stored ledger offset of each."""
    committed = await committed_offsets(kafka.bootstrap, group)
    return [
        await account(kafka, p, committed.get((topics.EVENTS, p), 0), marks.get(p, -1), now_ms)
        for p in await kafka.partitions(topics.EVENTS)
    ]


def conservation(found: list[PartitionAccount], stored: int | None) -> Mapping[str, int | None]:
    """The sums, what waits for the warehouse, and the difference; what only waits is none.

    stored: rows of the warehouse up to its marks; None when it cannot be asked, and then it is not compared.
    """
    sums = {name: sum(asdict(a)[name] for a in found) for name in ("produced", "covered", "rated", "duplicate", "dead")}
    sums |= {name: sum(asdict(a)[name] for a in found) for name in ("skipped", "lost")}
    outcomes = sums["rated"] + sums["duplicate"] + sums["dead"] + sums["skipped"] + sums["lost"]
    due = sum(a.due for a in found)
    difference = abs(sums["covered"] - outcomes) + (0 if stored is None else abs(due - stored))
    return {
        **sums,
        "stored": stored,
        "waiting": None if stored is None else sums["rated"] - due,
        "difference": difference,
    }
