"""What one chunk becomes: apart from the decision itself, so that the protocol knows the one without the other."""

from dataclasses import dataclass

from streams.pipeline.frames import Dead
from streams.pipeline.ledger import Batch


@dataclass(frozen=True, slots=True)
class Outcome:
    """Batches in order, each with the dead letters that must be safe before it."""

    batches: list[Batch]
    dead: list[Dead]

    def dead_of(self, batch: Batch) -> list[Dead]:
        """The dead letters among what the batch covers."""
        return [d for d in self.dead if batch.coverage.base < d.record.offset <= batch.coverage.to]
