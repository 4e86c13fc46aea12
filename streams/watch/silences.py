"""Who is told of an alert, and who is not: silences of the catalog and of people, maintenance windows in local time.

A silence holds in `[starts, ends)` of the watch's clock; an alert in it is recorded all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from streams.catalog.alerting import DAYS, Maintenance, Matcher
from streams.catalog.alerting import Silence as Written
from streams.watch.commands import Commands, Match, Silence, ms_of
from streams.watch.raised import Hush

MINUTE_SECONDS = 60


class Subject(NamedTuple):
    """What the alerts of one scope have in common, to be matched: see `catalog.alerting.Matcher`."""

    kind: str
    rule: str
    tenant: str
    owner: str
    dimensions: Mapping[str, str]


class _Held(NamedTuple):
    """A silence with its instants in ms; `is_lifted` while the watch's clock may still be before its end."""

    id: str
    match: Match
    start: int
    end: int
    reason: str
    is_lifted: bool


def match_of(matcher: Matcher) -> Match:
    """What people wrote, as the core keeps it."""
    return Match(matcher.rules, matcher.kinds, matcher.severities, matcher.owners, matcher.tenant, dict(matcher.where))


def silence_of(written: Written) -> Silence:
    """The same for a silence."""
    return Silence(written.id, written.starts, written.ends, written.reason, match_of(written.match))


def matches(match: Match, subject: Subject, severity: str) -> bool:
    """Whether an alert of this severity is meant."""
    return (
        (not match.rules or subject.rule in match.rules)
        and (not match.kinds or subject.kind in match.kinds)
        and (not match.severities or severity in match.severities)
        and (not match.owners or subject.owner in match.owners)
        and match.tenant in {"*", subject.tenant}
        and all(subject.dimensions.get(name) == value for name, value in match.where.items())
    )


@dataclass(frozen=True, slots=True)
class Silences:
    """Everything that can silence an alert; made anew when the catalog or the commands change."""

    held: tuple[_Held, ...] = ()
    maintenance: tuple[tuple[Maintenance, Match], ...] = ()

    def of(self, subject: Subject, clock: int) -> Callable[[str], Hush | None]:
        """By severity: what silences the alerts of a scope at this clock. Of several the one that ends last."""

        def hush(severity: str) -> Hush | None:
            found = [
                Hush(s.id, s.end, s.reason)
                for s in self.held
                if not s.is_lifted and s.start <= clock < s.end and matches(s.match, subject, severity)
            ]
            for window, match in self.maintenance:
                if matches(match, subject, severity) and (end := end_of(window, clock)) is not None:
                    found.append(Hush(window.id, end, window.reason))
            return max(found, key=lambda h: (h.until, h.id), default=None)

        return hush

    def quiet(self, subject: Subject, clock: int) -> Callable[[str, int], int]:
        """By severity: for how many ms since a clock before this one its alerts were silenced; what overlaps counts once."""

        def quiet(severity: str, since: int) -> int:
            found = [(s.start, s.end) for s in self.held if matches(s.match, subject, severity)]
            for window, match in self.maintenance:
                if matches(match, subject, severity):
                    found += intervals(window, since, clock)
            total, at = 0, since
            for start, end in sorted(found):
                total += max(min(end, clock) - max(start, at), 0)
                at = max(at, end)
            return total

        return quiet


def silences(written: Iterable[Written], maintenance: Iterable[Maintenance], commands: Commands) -> Silences:
    """Of a catalog, and of what people did; what was lifted ended then."""
    held = [_held(silence_of(s), None) for s in written]
    for name, started in sorted(commands.silences.items()):
        lifted = commands.lifted.get(name)
        held.append(_held(started.silence, None if lifted is None else ms_of(lifted.at)))
    return Silences(tuple(held), tuple((m, match_of(m.match)) for m in maintenance))


def _held(silence: Silence, lifted: int | None) -> _Held:
    """Lifted: it is over, even where the watch's clock is behind that of whoever lifted it; until then it was quiet."""
    start, end = ms_of(silence.starts), ms_of(silence.ends)
    end = end if lifted is None else min(max(lifted, start), end)
    return _Held(silence.id, silence.match, start, end, silence.reason, lifted is not None)


def end_of(window: Maintenance, clock: int) -> int | None:
    """When the maintenance ends that holds at this clock (ms); None: none does.

    Local time: `[start, end)` on the days given, past midnight when end is before start. A time that the clocks leave out is
    the moment at which they do; of one that they show twice the first begins and the second ends it.
    """
    return max((end for start, end in intervals(window, clock, clock) if start <= clock < end), default=None)


def intervals(window: Maintenance, since: int, until: int) -> Iterator[tuple[int, int]]:
    """Those that a maintenance may have from one clock to another (ms), by the days on which they begin."""
    tz = ZoneInfo(window.zone)
    first, last = (datetime.fromtimestamp(at // 1000, UTC).astimezone(tz).date() for at in (since, until))
    for back in range((last - first).days + 2):
        day = last - timedelta(days=back)
        if DAYS[day.weekday()] in window.days:
            yield _interval(day, window.start, window.end, window.zone)


@lru_cache(maxsize=1024)
def _interval(day: date, start: str, end: str, zone: str) -> tuple[int, int]:
    """Of the window that begins on this day, in ms."""
    until = day if start < end else day + timedelta(days=1)
    return _instant(day, start, zone, 0), _instant(until, end, zone, 1)


def _instant(day: date, wall: str, zone: str, fold: int) -> int:
    """Of a local time, in ms; one that was left out is the moment of the leap."""
    tz = ZoneInfo(zone)
    local = datetime.combine(day, time.fromisoformat(wall), tz)
    early, late = (local.replace(fold=f).astimezone(UTC) for f in (1, 0))
    if early < late:  # in a gap: with the offset after it, and with the one before it
        before = early.astimezone(tz).utcoffset()
        steps = range(int(early.timestamp()), int(late.timestamp()) + 1, MINUTE_SECONDS)
        moments = (datetime.fromtimestamp(at, UTC) for at in steps)
        leap = next(m for m in moments if m.astimezone(tz).utcoffset() != before)
        return ms_of(leap)
    return ms_of(local.replace(fold=fold).astimezone(UTC))
