"""What one scope has used in each of its windows, as of a clock: the same in any order of events within lateness.

A rolling window is a ring of slices with a running total: a row is added once, and taken off when its slice leaves. Calendar
periods are kept KEEP_MS after their end, for what comes late. A life (of a run, a conversation) is a chain of events no two
neighbours of which are `idle` apart; late events may join two. What is older than everything that is kept is not counted.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from streams.watch.contributors import Causes
from streams.watch.periods import DAY_MS, QUARTER_MS, edge, period_of
from streams.watch.watched import Watched, WindowSpec
from streams.watch.windows import EXACT, ZERO, Delta, Stretch, Sums, plain

KEEP_MS = 8 * DAY_MS  # how long a period that has ended can still be reached by late events
KEEP_LIFE_MS = DAY_MS  # the same of a life; longer where its idle time is longer
DAYS_KEPT = 35  # for forecasts
BLOCKS = (
    4  # of a rolling window: its contributors are kept in so many parts, so they reach back a part more than it does
)
NEVER = 2**62


class Part(msgspec.Struct, array_like=True):
    """A calendar period or a life: its sums, and who caused them."""

    sums: Sums
    causes: Causes | None = None


class Ring(msgspec.Struct, array_like=True):
    """A rolling window. Slices by their start in ms; first and last of their sums count from 1 ms before it: 0 is none.

    oldest: start of the oldest slice. blocks: contributors, by start of the block.
    """

    slices: dict[int, Sums] = {}
    total: Sums = msgspec.field(default_factory=Sums)
    oldest: int = NEVER
    blocks: dict[int, Causes] = {}


class Track(msgspec.Struct, array_like=True):
    """Everything that is known of what one scope used. `days` is in the scope's unit, by QUARTER_MS since the epoch."""

    periods: dict[int, Part] = {}
    lives: list[Part] = []
    rings: dict[str, Ring] = {}
    days: dict[int, Decimal] = {}


def add(known: Watched, track: Track, delta: Delta, clock: int, filling: bool = False) -> int | None:
    """Count a row in every window that holds it as of `clock`, to which the track was advanced.

    filling: history comes in any order, so that what lies alone so far may join a life; `advance` forgets it afterwards
    Start of the period or life that it fell into, 0 where there are rolling windows alone; None: it fell into nothing.
    """
    found: int | None = None
    amount = delta.value(known.scope.unit, known.currency)
    for spec in known.windows:
        match spec.kind:
            case "calendar":
                at = _add_to_period(known, spec, track, delta, clock, amount)
            case "lifetime":
                at = _add_to_life(known, spec, track, delta, 0 if filling else clock, amount)
            case _:
                at = _add_to_ring(known, spec, track, delta, clock, amount)
        found = at if found is None else max(found, at or 0)
    if known.days and amount:
        start = period_of(known.days, delta.slice)[0]
        if start > clock - DAYS_KEPT * DAY_MS:
            day = start // QUARTER_MS
            track.days[day] = plain(EXACT.add(track.days.get(day, ZERO), amount))
    return found


def _causes(known: Watched, spec: WindowSpec, delta: Delta) -> bool:
    """Whether the row may name causes; one of a foreign currency has no amount."""
    is_foreign = known.scope.unit == "cost" and delta.currency not in {known.currency, ""}
    return spec.with_causes and bool(known.scope.contributors) and not is_foreign


def _add_to_period(
    known: Watched, spec: WindowSpec, track: Track, delta: Delta, clock: int, amount: Decimal
) -> int | None:
    start, end = _period(spec, delta.slice)
    if end < clock - KEEP_MS:
        return None
    part = track.periods.get(start)
    if part is None:
        part = track.periods[start] = Part(Sums())
    part.sums.add(delta, known.currency)
    part.sums.forget_smallest()
    if _causes(known, spec, delta) and clock <= end + _causes_kept(start, end):
        if part.causes is None:
            part.causes = Causes()
        part.causes.add(amount, delta.causes)
    return start


def _add_to_life(
    known: Watched, spec: WindowSpec, track: Track, delta: Delta, clock: int, amount: Decimal
) -> int | None:
    own, with_causes = Part(Sums()), _causes(known, spec, delta)
    own.sums.add(delta, known.currency)
    first, last, idle = delta.first_ms, delta.last_ms, spec.idle_ms
    near = [p for p in track.lives if p.sums.first_ms < last + idle and first < p.sums.last_ms + idle]
    if not near:
        if _life_is_gone(spec, last, clock):
            return None
        track.lives.append(own)
        track.lives.sort(key=_first)
    else:
        into = near[0]
        for other in [*near[1:], own]:
            into.sums.take(other.sums)
            if other.causes:
                into.causes = into.causes.join(other.causes) if into.causes else other.causes
        if len(near) > 1:
            gone = set(map(id, near[1:]))
            track.lives = [p for p in track.lives if id(p) not in gone]
        into.sums.forget_smallest()
        own = into
    if with_causes:  # last, since a correction takes from what the life has
        own.causes = own.causes or Causes()
        own.causes.add(amount, delta.causes)
    return own.sums.first_ms


def _add_to_ring(
    known: Watched, spec: WindowSpec, track: Track, delta: Delta, clock: int, amount: Decimal
) -> int | None:
    start = delta.slice - delta.slice % spec.hop_ms
    if start < edge(clock, spec.hop_ms) - spec.size_ms:
        return None
    ring = track.rings.get(spec.name)
    if ring is None:
        ring = track.rings[spec.name] = Ring()
    sums = ring.slices.get(start)
    if sums is None:
        sums = ring.slices[start] = Sums()
        ring.oldest = min(ring.oldest, start)
    row = delta._replace(first_ms=delta.first_ms - start + 1, last_ms=delta.last_ms - start + 1)
    sums.add(row, known.currency)
    ring.total.count(row, known.currency)
    if _causes(known, spec, delta):
        block = start - start % (spec.size_ms // BLOCKS)
        causes = ring.blocks.get(block)
        if causes is None:
            causes = ring.blocks[block] = Causes()
        causes.add(amount, delta.causes)
    return 0


def advance(known: Watched, track: Track, clock: int) -> None:
    """Let go what lies outside of the windows as of `clock`, and what nothing can reach any more."""
    for spec in known.windows:
        match spec.kind:
            case "rolling":
                if ring := track.rings.get(spec.name):
                    _advance_ring(spec, track, ring, clock)
            case "lifetime":
                if any(_life_is_gone(spec, p.sums.last_ms, clock) for p in track.lives):
                    track.lives = [p for p in track.lives if not _life_is_gone(spec, p.sums.last_ms, clock)]
            case _:
                for start in list(track.periods):
                    end = _period(spec, start)[1]
                    if end < clock - KEEP_MS:
                        del track.periods[start]
                    elif clock > end + _causes_kept(start, end):
                        track.periods[start].causes = None
    if track.days:
        oldest = (clock - DAYS_KEPT * DAY_MS) // QUARTER_MS
        for day in [day for day in track.days if day <= oldest]:
            del track.days[day]


def _advance_ring(spec: WindowSpec, track: Track, ring: Ring, clock: int) -> None:
    start = edge(clock, spec.hop_ms) - spec.size_ms
    if ring.oldest >= start:
        return
    for at in [at for at in ring.slices if at < start]:
        ring.total.take(ring.slices.pop(at), -1)
    if not ring.slices:
        del track.rings[spec.name]
        return
    ring.oldest = min(ring.slices)
    length = spec.size_ms // BLOCKS
    for block in [block for block in ring.blocks if block + length <= start]:
        del ring.blocks[block]


def stretches(known: Watched, track: Track, clock: int) -> dict[str, Stretch]:
    """Every window by name as of `clock`, to which the track was advanced. A life that is over ends at `clock` or before."""
    found = {}
    for spec in known.windows:
        match spec.kind:
            case "calendar":
                start, end = _period(spec, max(clock - 1, 0))
                part = track.periods.get(start)
                found[spec.name] = Stretch(start, end, part.sums if part else Sums())
            case "lifetime":
                found[spec.name] = _life(spec, track.lives[-1]) if track.lives else Stretch(clock, clock, Sums())
            case _:
                end = edge(clock, spec.hop_ms)
                found[spec.name] = Stretch(end - spec.size_ms, end, _total(track.rings.get(spec.name)))
    return found


def past(known: Watched, track: Track, touched: Iterable[int], clock: int) -> list[Stretch]:
    """Of the periods or lives whose starts are given those that are not the current one: late data moved them."""
    spec = next((w for w in known.windows if w.kind != "rolling"), None)
    if spec is None:
        return []
    if spec.kind == "lifetime":
        starts = set(touched)
        return [_life(spec, p) for p in track.lives[:-1] if p.sums.first_ms in starts]
    current = _period(spec, max(clock - 1, 0))[0]
    return [
        Stretch(*_period(spec, at), track.periods[at].sums)
        for at in sorted(set(touched) - {current})
        if at in track.periods
    ]


def causes_of(known: Watched, track: Track, name: str, start: int) -> Causes | None:
    """Who caused what a stretch of the window `name` holds; of a rolling one those of up to a quarter more of its size."""
    spec = known.window(name)
    if spec.kind == "calendar":
        part = track.periods.get(start)
        return part.causes if part else None
    if spec.kind == "lifetime":
        return next((p.causes for p in track.lives if p.sums.first_ms == start), None)
    ring, found = track.rings.get(name), None
    for _, causes in sorted(ring.blocks.items()) if ring else ():
        found = causes if found is None else found.join(causes)
    return found


def days(track: Track) -> dict[int, Decimal]:
    """What was used by day, in the scope's unit: local midnight (ms) -> amount; a day of nothing is absent."""
    return {day * QUARTER_MS: amount for day, amount in sorted(track.days.items())}


def due(known: Watched, track: Track, clock: int) -> int:
    """The next clock at which a window changes although nothing comes, or something can be forgotten; NEVER: none."""
    found = NEVER
    for spec in known.windows:
        match spec.kind:
            case "rolling":
                if ring := track.rings.get(spec.name):
                    found = min(found, ring.oldest + spec.size_ms + 1)
            case "lifetime":
                for part in track.lives:
                    end = part.sums.last_ms + spec.idle_ms
                    found = min(found, end if end > clock else end + _life_kept(spec) + 1)
            case _:
                for start in track.periods:
                    end = _period(spec, start)[1]
                    found = min(found, end + 1 if end >= clock else end + KEEP_MS + 1)
                if known.kind == "low_usage":  # a period of nothing at all is one to be judged
                    found = min(found, _period(spec, max(clock - 1, 0))[1] + 1)
    return found


def is_empty(track: Track) -> bool:
    """Whether no window holds anything, so that the scope can be forgotten; days alone keep none alive."""
    return not (track.periods or track.lives or track.rings)


def _period(spec: WindowSpec, at: int) -> tuple[int, int]:
    if spec.calendar is None:
        raise ValueError(f"window {spec.name}: is calendar, and names none")
    return period_of(spec.calendar, at)


def _causes_kept(start: int, end: int) -> int:
    """How long after the end of a period its contributors are kept."""
    return min(end - start, DAY_MS)


def _life(spec: WindowSpec, part: Part) -> Stretch:
    return Stretch(part.sums.first_ms, part.sums.last_ms + spec.idle_ms, part.sums)


def _life_kept(spec: WindowSpec) -> int:
    return max(KEEP_LIFE_MS, spec.idle_ms)


def _life_is_gone(spec: WindowSpec, last_ms: int, clock: int) -> bool:
    return last_ms + spec.idle_ms + _life_kept(spec) < clock


def _first(part: Part) -> int:
    return part.sums.first_ms


def _total(ring: Ring | None) -> Sums:
    """The running total, with its first and last from the slices at its ends."""
    if ring is None:
        return Sums()
    oldest, newest = min(ring.slices), max(ring.slices)
    first, last = oldest + ring.slices[oldest].first_ms - 1, newest + ring.slices[newest].last_ms - 1
    return msgspec.structs.replace(ring.total, first_ms=first, last_ms=last)
