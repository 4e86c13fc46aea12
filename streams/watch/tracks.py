"""Everything that is known of one scope, and how it moves with time; and what a store of a million of them can do."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from heapq import heappop, heappush
from typing import Protocol

import msgspec

from streams.watch.alert_records import Contributor
from streams.watch.conditions import Stretch
from streams.watch.contributors import PARTS, merged, note, top
from streams.watch.enforcement import Enforced
from streams.watch.periods import edge, period_of
from streams.watch.raised import Raised
from streams.watch.scopes import rule_of
from streams.watch.watched import Watched, WindowSpec
from streams.watch.windows import EXACT, KEEP_DAYS_MS, KEEP_MS, ZERO, Delta, Kept, Sums


class Track(msgspec.Struct, array_like=True):
    """windows: in the order of its rule's; days: use by local day, for forecasts; clock: of the last look

    due: the next clock at which something may change although nothing comes; 0 = never
    """

    windows: list[Kept]
    days: dict[int, Decimal] = {}
    alerts: dict[str, Raised] = {}
    enforced: Enforced = Enforced()
    clock: int = 0
    due: int = 0

    @property
    def is_open(self) -> bool:
        """Whether an alert of it is."""
        return any(r.is_open for r in self.alerts.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is kept that a new track would not have."""
        nothing = not self.days and all(not k.slices and k.total.is_zero for k in self.windows)
        return nothing and not self.alerts and self.enforced.verdict == "allow"


def new_track(known: Watched) -> Track:
    """Of a scope that nobody has seen yet."""
    return Track([Kept() for _ in known.windows])


def add(track: Track, known: Watched, delta: Delta, clock: int) -> set[int]:
    """Put a row of totals where it belongs; starts of the calendar periods that it touched.

    What lies where nothing is kept any more is left out: its sums are gone, and the difference is none of them.
    """
    touched = set[int]()
    for spec, kept in zip(known.windows, track.windows, strict=True):
        match spec.kind:
            case "calendar":
                start, end = _period(spec, delta.slice)
                if end < clock - KEEP_MS:
                    continue
                part = start
                touched.add(start)
                kept.slices.setdefault(start, Sums()).add(delta, known.currency)
            case "rolling":
                start = delta.slice - delta.slice % spec.hop_ms
                if start < kept.edge:
                    continue
                part = start - start % _part(spec)
                for sums in (kept.slices.setdefault(start, Sums()), kept.total):
                    sums.add(delta, known.currency)
                kept.total.first_ms = kept.total.last_ms = 0
            case _:
                part = 0
                if not _live(kept, spec, delta):
                    continue
                kept.total.add(delta, known.currency)
        if spec.with_causes and delta.causes:
            note(kept.causes.setdefault(part, {}), delta.causes)
    if known.days is not None and known.budget is not None:
        day, _ = period_of(known.days, delta.slice)
        one = Sums()
        one.add(delta, known.currency)
        track.days[day] = EXACT.add(track.days.get(day, ZERO), one.value(known.budget.unit))
    return touched


def _live(kept: Kept, spec: WindowSpec, delta: Delta) -> bool:
    """Whether it belongs to the life that is known; what begins after it was idle is another, what lies long before is over."""
    life = kept.total
    if not life.first_ms or not delta.first_ms:
        return True
    if delta.first_ms > life.last_ms + spec.idle_ms:
        kept.total, kept.causes = Sums(), {}
        return True
    return delta.last_ms >= life.first_ms - spec.idle_ms


def advance(track: Track, known: Watched, clock: int) -> None:
    """Let time pass: what left a rolling window is subtracted, a life that is over is gone, old periods are forgotten."""
    track.clock = clock
    for spec, kept in zip(known.windows, track.windows, strict=True):
        match spec.kind:
            case "calendar":
                for at in [at for at in kept.slices if _period(spec, at)[1] < clock - KEEP_MS]:
                    del kept.slices[at]
                    kept.causes.pop(at, None)
            case "rolling":
                _roll(kept, spec, edge(clock, spec.hop_ms) - spec.size_ms)
            case _:
                if kept.total.first_ms and clock >= kept.total.last_ms + spec.idle_ms:
                    kept.total, kept.causes = Sums(), {}
    for day in [day for day in track.days if day < clock - KEEP_DAYS_MS]:
        del track.days[day]


def _roll(kept: Kept, spec: WindowSpec, start: int) -> None:
    if start <= kept.edge:
        return
    kept.edge = start
    for at in [at for at in kept.slices if at < start]:
        kept.total.include(kept.slices.pop(at), -1)
    for part in [part for part in kept.causes if part + _part(spec) <= start]:
        del kept.causes[part]


def _part(spec: WindowSpec) -> int:
    return max(spec.size_ms // PARTS, spec.hop_ms)


def _period(spec: WindowSpec, at: int) -> tuple[int, int]:
    if spec.calendar is None:
        raise ValueError(f"window {spec.name}: a calendar window without its calendar")
    return period_of(spec.calendar, at)


def stretches(track: Track, known: Watched, clock: int) -> dict[str, Stretch]:
    """Every window by name, as of the clock to which the track was advanced."""
    return {
        spec.name: _stretch(spec, kept, clock) for spec, kept in zip(known.windows, track.windows, strict=True)
    }  # fmt: skip


def _stretch(spec: WindowSpec, kept: Kept, clock: int) -> Stretch:
    match spec.kind:
        case "calendar":
            start, end = _period(spec, max(clock - 1, 0))
            return Stretch(start, end, kept.slices.get(start) or Sums())
        case "rolling":
            end = edge(clock, spec.hop_ms)
            return Stretch(end - spec.size_ms, end, kept.total)
        case _:
            life = kept.total
            return (
                Stretch(life.first_ms, life.last_ms + spec.idle_ms, life)
                if life.first_ms
                else Stretch(clock, clock, life)
            )


def past(track: Track, known: Watched, starts: Iterable[int], clock: int, with_last: bool = False) -> list[Stretch]:
    """Calendar periods before the one of the clock, of those starts; with_last: the one that ended last too, if whole."""
    spec, kept = known.windows[0], track.windows[0]
    if spec.kind != "calendar":
        return []
    now, _ = _period(spec, max(clock - 1, 0))
    wanted = {at for at in starts if at < now and at in kept.slices}
    if with_last and kept.slices:
        last, _ = _period(spec, now - 1)
        if min(kept.slices) <= last:
            wanted.add(last)
    return [Stretch(at, _period(spec, at)[1], kept.slices.get(at) or Sums()) for at in sorted(wanted)]


def contributors(track: Track, known: Watched, name: str) -> list[Contributor]:
    """Of a window as of the last look, the largest first."""
    for spec, kept in zip(known.windows, track.windows, strict=True):
        if spec.name == name:
            stretch = _stretch(spec, kept, track.clock)
            parts = [kept.causes.get(stretch.start, {})] if spec.kind == "calendar" else kept.causes.values()
            return top(merged(parts), stretch.sums.value(known.scope.unit))
    return []


def windows_due(track: Track, known: Watched, clock: int) -> int | None:
    """The next clock at which a window is another although nothing comes."""
    dues = [day + KEEP_DAYS_MS + 1 for day in track.days]
    for spec, kept in zip(known.windows, track.windows, strict=True):
        match spec.kind:
            case "calendar" if kept.slices:
                now, end = _period(spec, max(clock - 1, 0))
                dues += [end + 1] if now in kept.slices or track.is_open else []
                dues += [_period(spec, at)[1] + KEEP_MS + 1 for at in kept.slices]
            case "rolling" if kept.slices:
                dues.append(min(kept.slices) + spec.size_ms + 1)
            case "lifetime" if kept.total.first_ms:
                dues.append(kept.total.last_ms + spec.idle_ms)
    return min((at for at in dues if at > clock), default=None)


class Tracks(Protocol):
    """A store of tracks by scope key. What was got and changed must be put back."""

    def get(self, key: str) -> Track | None: ...

    def put(self, key: str, track: Track) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys_of(self, rule: str) -> Iterator[str]:
        """Keys of the scopes of one budget or rule."""
        ...

    def due(self, clock: int) -> list[str]:
        """Keys whose time has come."""
        ...

    def open_keys(self) -> list[str]:
        """Keys of scopes with an open alert."""
        ...

    def keys(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...


class MemoryTracks:
    """All in memory: for a backtest, and for tests."""

    def __init__(self, tracks: Mapping[str, Track] | None = None) -> None:
        self._tracks = dict[str, Track]()
        self._dues = list[tuple[int, str]]()
        self._open = set[str]()
        for key, track in (tracks or {}).items():
            self.put(key, track)

    def get(self, key: str) -> Track | None:
        return self._tracks.get(key)

    def put(self, key: str, track: Track) -> None:
        self._tracks[key] = track
        if track.due:
            heappush(self._dues, (track.due, key))
        if track.is_open:
            self._open.add(key)
        else:
            self._open.discard(key)

    def delete(self, key: str) -> None:
        self._tracks.pop(key, None)
        self._open.discard(key)

    def keys_of(self, rule: str) -> Iterator[str]:
        return (key for key in list(self._tracks) if rule_of(key) == rule)

    def due(self, clock: int) -> list[str]:
        found = set[str]()
        while self._dues and self._dues[0][0] <= clock:
            at, key = heappop(self._dues)
            if (track := self._tracks.get(key)) is not None and track.due == at:
                found.add(key)
        return sorted(found)

    def open_keys(self) -> list[str]:
        return sorted(self._open)

    def keys(self) -> Iterator[str]:
        return iter(list(self._tracks))

    def __len__(self) -> int:
        return len(self._tracks)
