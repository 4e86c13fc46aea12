"""Conservation: covered = rated + duplicate + dead + skipped + lost, and stored = rated, per stream and partition."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from streams.warehouse.queries import run_query


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not add up in one partition; all 0 when everything is accounted for."""

    stream: str
    partition: int
    unaccounted: int  # covered offsets that no header explains
    missing: int  # rated rows that are not stored (negative: stored twice)
    gaps: int  # source offsets between stored batches that none covers

    @property
    def size(self) -> int:
        return abs(self.unaccounted) + abs(self.missing) + abs(self.gaps)

    @property
    def holds(self) -> bool:
        return self.size == 0


def differences(client: Client) -> list[Difference]:
    """One for each stream and partition, those that hold included."""
    return [
        Difference(
            str(row["stream"]), *(int(str(row[name])) for name in ("partition", "unaccounted", "missing", "gaps"))
        )
        for row in run_query(client, "conservation")
    ]
