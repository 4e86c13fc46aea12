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
    """One source partition; all but the last two count records. Lag is what the ledger does not cover yet."""

    partition: int
    produced: int
    covered: int
    rated: int
    duplicate: int
    dead: int
    skipped: int
    lost: int
    vector: int  # last counted ledger offset
    committed: int
    lag_messages: int
    lag_seconds: float


async def account(kafka: KafkaClient, partition: int, committed: int, now_ms: int) -> PartitionAccount:
    """Fold the headers of one ledger partition up to its present end."""
    source = kafka.log(topics.EVENTS, partition)
    chained = ChainedLog(kafka.log(topics.RATED, partition))
    sums = dict.fromkeys(("rated", "duplicate", "dead", "skipped", "lost"), 0)
    for counted in await chained.fold():
        coverage, _ = read_headers(counted.message.headers)
        rated = int(dict(counted.message.headers)["rated"])
        parts = (rated, len(coverage.duplicates), len(coverage.dead), len(coverage.skipped), len(coverage.lost))
        for name, value in zip(sums, parts, strict=True):
            sums[name] += value
    _, produced = await source.bounds()
    mark, lag_seconds = chained.chain.mark, 0.0
    if produced > mark + 1:
        async for message in source.read(mark + 1, mark + 2):
            lag_seconds = max(0.0, (now_ms - message.timestamp) / 1000)
    return PartitionAccount(
        partition=partition,
        produced=produced,
        covered=mark + 1,
        **sums,
        vector=chained.chain.last,
        committed=committed,
        lag_messages=produced - mark - 1,
        lag_seconds=lag_seconds,
    )


async def accounts(kafka: KafkaClient, group: str, now_ms: int) -> list[PartitionAccount]:
    """Every partition of usage.events."""
    committed = await committed_offsets(kafka.bootstrap, group)
    return [
        await account(kafka, p, committed.get((topics.EVENTS, p), 0), now_ms)
        for p in await kafka.partitions(topics.EVENTS)
    ]


def conservation(found: list[PartitionAccount], stored: int | None) -> Mapping[str, int | None]:
    """The sums and the difference; `stored` is None when the warehouse cannot be asked, and then is not compared."""
    sums = {name: sum(asdict(a)[name] for a in found) for name in ("produced", "covered", "rated", "duplicate", "dead")}
    sums |= {name: sum(asdict(a)[name] for a in found) for name in ("skipped", "lost")}
    outcomes = sums["rated"] + sums["duplicate"] + sums["dead"] + sums["skipped"] + sums["lost"]
    difference = abs(sums["covered"] - outcomes) + (0 if stored is None else abs(sums["rated"] - stored))
    return {**sums, "stored": stored, "difference": difference}
