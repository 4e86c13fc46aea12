"""Rates again by itself what had no price, when a catalog prices it: a run like any other, so two workers do it once.

A catalog is looked at twice: at once, and again when every meter has had the time to read it, since what one of them rated
meanwhile with the version before has no price either.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError

from streams.jobs.rerate import Report, RunPorts, RunRefused, rerate_unpriced, resume
from streams.kafka.runs_log import RunsLog
from streams.outside import Away
from streams.pipeline.chain import LogBroken

log = structlog.get_logger()
LATER_SECONDS = 60.0
OWN = "prices-v"  # how the ids of its runs begin; the version follows


@dataclass(slots=True)
class Repricer:
    """`open_ports` gives the logs, and the catalog as it is now."""

    open_ports: Callable[[], Awaitable[RunPorts]]
    monotonic: Callable[[], float] = time.monotonic
    looked: int = 0  # the newest version that was looked at
    later: float | None = None  # when it is looked at again
    said: str = ""  # the last complaint, which is not repeated at every look

    async def look(self) -> Report | None:
        """What was rated again, if anything; finishes a run of its kind that was killed, and waits for one of another kind."""
        ports = await self.open_ports()
        sequence, now = ports.catalogs.sequence, self.monotonic()
        again = self.later is not None and now >= self.later
        if sequence == self.looked and not again:
            return None
        runs = RunsLog(ports.runs)
        await runs.refresh()
        if runs.open is not None:
            return await resume(ports) if runs.open.run_id.startswith(OWN) else None
        name = f"{OWN}{sequence}" if sequence != self.looked else f"{OWN}{sequence}-later"
        report = await rerate_unpriced(ports, name, "usage-streams")
        self.later = now + LATER_SECONDS if sequence != self.looked else None
        self.looked = sequence
        return report

    async def look_calmly(self) -> None:
        """`look` for a timer: what goes wrong is said, and tried again at the next look."""
        try:
            report = await self.look()
        except (Away, KafkaError, OSError, RunRefused) as error:
            before, self.said = self.said, str(error) or repr(error)
            if self.said != before:
                log.warning("not looked for new prices", error=self.said)
        except LogBroken as error:
            log.critical("a log is broken; not looked for new prices", error=str(error))
        else:
            self.said = ""
            if report is not None:
                events = int(report.differences["events"].sum())
                log.info("rated again what had no price", run=report.run_id, events=events)
