"""Runs of corrections: rate again what was rated, or void it, as additions to usage.adjustments (DESIGN §2.2).

One run at a time: its start in usage.runs says what it corrects, with which catalog, up to which ledger offsets; then each
partition's chain is brought to its vector, then its end is written. Killed anywhere, whoever asks for the same run id goes on
where the chains end, and what was appended twice is ignored by every reader. Old rows come from the ledger and earlier runs.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streams.agents.meter_partition import Catalogs, in_thread
from streams.catalog.book import Book
from streams.kafka.chained_log import ChainedLog, span_of
from streams.kafka.ports import Log, Message
from streams.kafka.runs_log import RunsLog
from streams.pipeline import adjust
from streams.pipeline.adjust import NONE, ROWS, UNPRICED, Pairs
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.ledger import read_frame, read_headers
from streams.pipeline.runs import (
    Kind,
    Run,
    RunRecord,
    Selection,
    adjustment_headers,
    place,
    reached,
    run_of,
)

AGAIN_SECONDS = 0.2
PLANNED = 1 << 22  # a number after every run that there is
UNPRICED_ONLY = Selection(where=tuple(("pricing_status", status) for status in UNPRICED))


class RunRefused(Exception):
    """The run cannot start, or is not what its id stands for; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class RunPorts:
    """The logs of the service; `event`: the columns that an event brings into the ledger."""

    partitions: Sequence[int]
    runs: Log
    ledger: Callable[[int], Log]
    adjustments: Callable[[int], Log]
    catalogs: Catalogs
    stream: str
    event: pl.Schema
    offload: Callable[..., Any] = in_thread
    moved: Callable[[int, int], None] = lambda done, total: None  # ledger messages looked at, and all that there are


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants: under an id of their own, so that asking twice is asking once."""

    run_id: str
    kind: Kind
    selection: Selection
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run changes, or changed: adjust.DIFFERENCES. `state`: planned, applied or `already applied`.

    `left`: events that were rated with an older catalog after the run took its vector; a further run takes them.
    """

    run_id: str
    kind: Kind
    state: str
    catalog_sequence: int
    differences: pl.DataFrame
    left: int = 0
    chosen: int | None = None  # of a plan: events that the selection fits, whether they change or not


@dataclass(slots=True)
class Earlier:
    """What the runs before one made of a partition's rows: the newest row of each event, and where the chain stands."""

    chain: Chain
    rows: pl.DataFrame
    batches: set[int] = field(default_factory=set)  # ledger offsets that any of them touches
    chosen: int = 0  # events that the run itself has looked at since, whether it changes them or not


async def plan(ports: RunPorts, asked: Asked) -> Report:
    """The run without its traces: what it would change if it were started now."""
    run = await _drawn(ports, asked, PLANNED)
    chosen, parts, book = 0, [], (await ports.catalogs.wait_for(run.catalog_sequence)).book
    total, done = sum(run.vector) + len(run.vector), 0
    for p in ports.partitions:
        earlier = await _earlier(ports, run, p)
        async for _, pairs in _changes(ports, run, p, -1, earlier, book, done, total):
            parts.append(await ports.offload(adjust.differences, pairs))
        chosen += earlier.chosen
        done += run.vector[p] + 1
    found = adjust.sum_differences(parts)
    return Report(asked.run_id, asked.kind, "planned", run.catalog_sequence, found, chosen=chosen)


async def apply(ports: RunPorts, asked: Asked) -> Report:
    """Start the run, or go on with it, until its end is written; nothing when it was applied before.

    Raises RunRefused when another run is open, or the id stands for another correction.
    """
    runs = RunsLog(ports.runs)
    await runs.refresh()
    record = runs.ended.get(asked.run_id)
    if record is None:
        run = await _started(ports, runs, asked)
        return await _finish(ports, runs, run)
    _check_same(record.run, asked)
    return await _report(ports, record.run, "already applied")


async def resume(ports: RunPorts) -> Report:
    """Finish the run that is open. Raises RunRefused when none is."""
    runs = RunsLog(ports.runs)
    await runs.refresh()
    if runs.open is None:
        raise RunRefused("run: none is open, nothing waits to be resumed")
    return await _finish(ports, runs, runs.open)


async def rerate_unpriced(ports: RunPorts, run_id: str, by: str, reason: str = "") -> Report | None:
    """Rate again what had no price, or not all of its prices, if the newest catalog prices any of it.

    None when it does not, or when it was done under this id before; two that call it at once do it once.
    """
    runs = RunsLog(ports.runs)
    await runs.refresh()
    if run_id in runs.ended:
        return None
    reason = reason or f"catalog {ports.catalogs.sequence} prices what had no price"
    asked = Asked(run_id, "rerate", UNPRICED_ONLY, reason, by)
    planned = await plan(ports, asked)
    return await apply(ports, asked) if planned.differences.height else None


async def _drawn(ports: RunPorts, asked: Asked, number: int, least: int = 1) -> Run:
    """The run as it would start at this moment, with the newest catalog (`least`: of the run before) and ledger."""
    sequence = max(least, ports.catalogs.sequence)
    vector = [(await ports.ledger(p).bounds())[1] - 1 for p in ports.partitions]
    return Run(
        number, asked.run_id, asked.kind, asked.reason, asked.by, ports.stream, sequence, asked.selection, tuple(vector)
    )


async def _started(ports: RunPorts, runs: RunsLog, asked: Asked) -> Run:
    """The run that is open under this id, by us or by whoever was first."""
    while True:
        if runs.open is not None:
            if runs.open.run_id != asked.run_id:
                raise RunRefused(
                    f"run {runs.open.run_id}: is open since it was killed, or still goes on; wait for it, or finish it"
                    " with `usage-streams rerate --resume`"
                )
            _check_same(runs.open, asked)
            return runs.open
        if (ended := runs.ended.get(asked.run_id)) is not None:  # somebody else has finished it meanwhile
            _check_same(ended.run, asked)
            return ended.run
        run = await _drawn(ports, asked, runs.last + 1, max(1, runs.sequence))
        if not await runs.write(RunRecord(run)):
            await asyncio.sleep(AGAIN_SECONDS)
            await runs.refresh()


def _check_same(run: Run, asked: Asked) -> None:
    if run.asked != (asked.kind, asked.selection):
        raise RunRefused(f"run {run.run_id}: that id stands for another correction; choose another --run-id")


async def _finish(ports: RunPorts, runs: RunsLog, run: Run) -> Report:
    if run.stream != ports.stream:
        raise LogBroken(
            f"run {run.run_id}: corrects stream {run.stream}, the source is {ports.stream}; restore usage.runs"
        )
    book = (await ports.catalogs.wait_for(run.catalog_sequence)).book
    total, done = sum(run.vector) + len(run.vector), 0
    for p in ports.partitions[: len(run.vector)]:
        await _bring(ports, run, p, book, done, total)
        done += run.vector[p] + 1
    report = await _report(ports, run, "applied")
    while runs.open == run:
        adjusted = int(report.differences["events"].sum())
        if not await runs.write(RunRecord(run, ended=True, adjusted=adjusted)):
            await asyncio.sleep(AGAIN_SECONDS)
            await runs.refresh()
    return report


async def _bring(ports: RunPorts, run: Run, p: int, book: Book, done: int, total: int) -> None:
    """Append until the chain of usage.adjustments[p] has reached the run's vector, with an empty message if need be."""
    if run.vector[p] < 0:
        return
    goal = place(run.number, run.vector[p])
    earlier = await _earlier(ports, run, p)
    chained = ChainedLog(ports.adjustments(p), earlier.chain)
    while chained.chain.mark < goal:
        after = reached(chained.chain.mark, run.number)
        async with aclosing(_changes(ports, run, p, after, earlier, book, done, total)) as changes:
            async for upto, pairs in changes:
                payload = await ports.offload(adjust.encode_pairs, pairs)
                headers = adjustment_headers(run, chained.chain.mark, upto, pairs.height)
                counted, _ = await chained.append(payload, headers)
                if not counted:  # somebody else may have gone on: from where the chain stands now
                    await asyncio.sleep(AGAIN_SECONDS)
                    await chained.fold()
                    break


async def _counted(log: Log, chain: Chain, stop: int) -> AsyncGenerator[tuple[Message, Chain]]:
    """Counted messages below the offset `stop`, with the chain after each. Raises LogBroken when the log was cut."""
    begin, end = await log.bounds()
    if begin > chain.end or end < stop:
        raise LogBroken(f"log holds [{begin}, {end}), [{chain.end}, {stop}) is needed: it was cut; restore the topic")
    async for message in log.read(chain.end, stop):
        chain, counted = chain.take(message.offset, *span_of(message.headers))
        if counted:
            yield message, chain


async def _earlier(ports: RunPorts, run: Run, p: int) -> Earlier:
    """New rows of the runs before this one, as far as it may select them; the chain, with this run's messages."""
    log = ports.adjustments(p)
    parts, chain = list[pl.DataFrame](), Chain()
    lasting = adjust.conditions(run.selection, lasting=True)
    _, end = await log.bounds()
    async for message, chain in _counted(log, Chain(), end):
        if run_of(chain.mark) < run.number and message.value:
            rows = (await ports.offload(adjust.read_pairs, message.value)).new
            parts.append(adjust.select(rows, lasting))
    rows = await ports.offload(adjust.latest, parts)
    return Earlier(chain, rows, set(rows["ledger_offset"].to_list()))


async def _changes(
    ports: RunPorts, run: Run, p: int, after: int, earlier: Earlier, book: Book, done: int, total: int
) -> AsyncGenerator[tuple[int, Pairs]]:
    """(ledger offset that is reached, what changes up to it) in order; the last one reaches the vector."""
    parts, size = list[Pairs](), 0

    def corrected(message: Message) -> Pairs:
        value = message.value or b""
        if message.offset in earlier.batches:
            own = earlier.rows.filter(pl.col("ledger_offset") == message.offset)
        else:
            own = earlier.rows.head(0)
            looked = read_frame(value, adjust.columns_of(run.selection))
            if not adjust.select(looked, adjust.conditions(run.selection)).height:
                return NONE  # most batches of a long ledger: all but a few columns stay compressed
        rows = adjust.as_they_stand(read_frame(value), message.offset, own)
        earlier.chosen += adjust.chosen(rows, run.selection).height
        return adjust.corrected(rows, run, book, ports.event)

    stop = run.vector[p] + 1
    async with aclosing(_counted(ports.ledger(p), Chain(), stop)) as messages:
        async for message, _ in messages:
            ports.moved(done + message.offset + 1, total)
            _, stamp = read_headers(message.headers)
            if message.offset <= after or (run.kind == "rerate" and stamp.catalog_sequence > run.catalog_sequence):
                continue  # a newer catalog rated it: the run's would be a step back
            found: Pairs = await ports.offload(corrected, message)
            if size and size + found.height > ROWS:
                yield message.offset - 1, adjust.join(parts)
                parts, size = [], 0
            if found.height:
                parts.append(found)
                size += found.height
    ports.moved(done + stop, total)
    yield run.vector[p], adjust.join(parts)


async def _report(ports: RunPorts, run: Run, state: str) -> Report:
    """What a run changed, from what it wrote."""
    parts = []
    for p in ports.partitions[: len(run.vector)]:
        log = ports.adjustments(p)
        async for message, chain in _counted(log, Chain(), (await log.bounds())[1]):
            if run_of(chain.mark) == run.number and message.value:
                pairs = await ports.offload(adjust.read_pairs, message.value)
                parts.append(await ports.offload(adjust.differences, pairs))
    found = adjust.sum_differences(parts)
    return Report(run.run_id, run.kind, state, run.catalog_sequence, found, await _left(ports, run))


async def _left(ports: RunPorts, run: Run) -> int:
    """Events above the vector that were rated with a version below the run's; a batch that does not count may be among them."""
    left = 0
    for p in ports.partitions[: len(run.vector)] if run.kind == "rerate" else ():
        async for message in ports.ledger(p).read(run.vector[p] + 1):
            coverage, stamp = read_headers(message.headers)
            left += coverage.rated if stamp.catalog_sequence < run.catalog_sequence else 0
    return left
