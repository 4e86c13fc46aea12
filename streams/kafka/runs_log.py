"""usage.runs as a fold: which runs there were, and which one is open. One chained partition, so of two starters one counts."""

from streams.kafka.chained_log import ChainedLog
from streams.kafka.ports import Log
from streams.pipeline.runs import Run, RunRecord, encode_run, read_run


class RunsLog:
    """`ended` holds every run that was finished, by its id; `open` the one that is not."""

    def __init__(self, log: Log) -> None:
        self._log = ChainedLog(log)
        self.ended: dict[str, RunRecord] = {}
        self.open: Run | None = None
        self.last = 0  # the number of the newest run
        self.sequence = 0  # and its version of the catalog: no run after it works with a lower one (rule 8)

    async def refresh(self) -> None:
        """Read what is new."""
        for counted in await self._log.fold():
            self._take(read_run(counted.message.value, counted.message.headers))

    def _take(self, record: RunRecord) -> None:
        self.last, self.sequence = record.run.number, record.run.catalog_sequence
        self.open = None if record.ended else record.run
        if record.ended:
            self.ended[record.run.run_id] = record

    async def write(self, record: RunRecord) -> bool:
        """Append once. False: it did not land where it had to; look at what stands there now."""
        value, headers = encode_run(record)
        counted, found = await self._log.append(value, headers)
        for one in found:
            self._take(read_run(one.message.value, one.message.headers))
        return counted
