"""What people do at runtime, as records of usage.commands, and the fold of them that every partition of the watch keeps.

A command may be on the topic twice, since its sender repeats until the broker has it. That changes nothing: the first silence,
request, decision of an id is the one that counts, and what was ended does not begin again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from streams.catalog.limits import FIRST, LAST
from streams.catalog.money import kept_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEEP_MS = 40 * 86_400_000  # what has ended is remembered so long, so that a repeat of it begins nothing
Moment = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
T = TypeVar("T")
S = TypeVar("S", bound=Struct)
Decided = Literal["requested", "approved", "denied", "revoked"]


class BadCommand(ValueError):
    """A record of usage.commands that cannot be read: it is skipped, whatever came after it counts."""


class Match(Struct, frozen=True, omit_defaults=True):
    """Which alerts are meant, as `catalog.alerting.Matcher`; what is empty matches everything."""

    rules: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    tenant: str = "*"
    where: dict[str, str] = {}


class Silence(Struct, frozen=True):
    """As `catalog.alerting.Silence`."""

    id: Name
    starts: Moment
    ends: Moment
    reason: Text
    match: Match = Match()


class Command(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """at, by: when somebody asked for it, by the clock of their machine, and who."""

    command_id: Name
    at: Moment
    by: Name


class Acknowledge(Command, frozen=True, kw_only=True, tag="ack"):
    """Somebody takes an alert on. scope: its scope, as a hint where to look."""

    alert_id: Name
    note: Text = ""
    scope: str = ""


class StartSilence(Command, frozen=True, kw_only=True, tag="silence"):
    silence: Silence


class EndSilence(Command, frozen=True, kw_only=True, tag="unsilence"):
    silence_id: Name


class Request(Command, frozen=True, kw_only=True, tag="request"):
    """More than a budget allows, for a while; an approval where a verdict asks for one is the same. See `limits.Exemption`."""

    request_id: Name
    budget: Name
    tenant: Name
    extra: Decimal
    justification: Text
    expires: Moment
    where: dict[str, str] = {}
    workload_class: str = ""
    tier: str = ""
    starts: Moment | None = None  # None: with the decision
    reason_ends: Moment | None = None
    review: Moment | None = None


class Decide(Command, frozen=True, kw_only=True, tag="decide"):
    request_id: Name
    approved: bool
    approver: Name
    note: Text = ""


class Revoke(Command, frozen=True, kw_only=True, tag="revoke"):
    request_id: Name
    note: Text = ""


class Annotate(Command, frozen=True, kw_only=True, tag="annotate"):
    """Something happened that may explain a figure (R144). moment: when."""

    annotation_id: Name
    type: Literal["deploy", "prompt_version", "incident", "other"]
    text: Text
    moment: Moment
    match: Match = Match()
    link: Text = ""


AnyCommand = Acknowledge | StartSilence | EndSilence | Request | Decide | Revoke | Annotate
_READ = msgspec.json.Decoder(AnyCommand)


def read_command(body: bytes | None) -> AnyCommand:
    """A record of usage.commands. BadCommand says what is wrong with it."""
    return _within_reach(_decoded(body))


def sendable(body: bytes) -> AnyCommand:
    """The command that every reader takes from it as it is written. BadCommand for any other."""
    found = _decoded(body)
    for name, moment in _moments(found):
        if not FIRST <= moment < LAST:
            raise BadCommand(
                f"command: {name} is {moment.isoformat()}, before {FIRST:%Y} or after {LAST.year - 1}; it counts for nothing,"
                " mend it and send it again"
            )
    return found


def _decoded(body: bytes | None) -> AnyCommand:
    try:
        found: AnyCommand = _READ.decode(body or b"")
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadCommand(f"command: {error}; it counts for nothing, mend it and send it again") from error
    if isinstance(found, Request) and (kept_of(found.extra) is None or found.extra <= 0):
        raise BadCommand(
            f"command: extra of {found.request_id} is no money above 0; it counts for nothing, mend it and send it again"
        )
    return found


def _within_reach(command: S) -> S:
    """No calendar carries 9999 into every zone. Such a moment was accepted once: for everybody it is the last of all."""
    changes: dict[str, Any] = {}
    for name in command.__struct_fields__:
        match value := getattr(command, name):
            case datetime() if not FIRST <= value < LAST:
                changes[name] = FIRST if value < FIRST else LAST - timedelta(seconds=1)
            case Struct():
                changes[name] = _within_reach(value)
    return replace(command, **changes) if changes else command


def _moments(command: Struct) -> Iterator[tuple[str, datetime]]:
    """Every moment in it, by name."""
    for name in command.__struct_fields__:
        match value := getattr(command, name):
            case datetime():
                yield name, value
            case Struct():
                yield from _moments(value)


def write_command(command: AnyCommand) -> bytes:
    """The record: JSON, money as a string, times in RFC 3339."""
    return msgspec.json.encode(command)


def plain(command: AnyCommand) -> dict[str, Any]:
    """The record as JSON shows it."""
    found: dict[str, Any] = msgspec.to_builtins(command)
    return found


def subject_of(command: AnyCommand) -> str:
    """The id of what a command is about."""
    match command:
        case Acknowledge():
            return command.alert_id
        case StartSilence():
            return command.silence.id
        case EndSilence():
            return command.silence_id
        case Annotate():
            return command.annotation_id
        case _:
            return command.request_id


def ms_of(moment: datetime) -> int:
    """Milliseconds since the epoch, exactly."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


class Case(Struct, frozen=True):
    """A request and what became of it. decided_ms: when it was decided, by the clock of whoever folds this."""

    request: Request
    decision: Decide | None = None
    revocation: Revoke | None = None
    decided_ms: int = 0

    @property
    def state(self) -> Decided:
        if self.decision is None:
            return "requested"
        if not self.decision.approved:
            return "denied"
        return "approved" if self.revocation is None else "revoked"


class Commands(Struct):
    """The fold. `taken`: the highest offset of usage.commands that is in; all else by the id of what it is about."""

    taken: int = -1
    silences: dict[str, StartSilence] = {}
    lifted: dict[str, EndSilence] = {}
    cases: dict[str, Case] = {}
    acks: dict[str, Acknowledge] = {}

    def take(self, offset: int, command: AnyCommand, clock: int | None = None) -> bool:
        """Whether it changes anything: it was not taken before, nor decided before, and what it ends is there.

        clock: the watch's, which may be behind that of whoever decides: what is approved holds from then on at once
        """
        if offset <= self.taken:
            return False
        self.taken = offset
        match command:
            case Acknowledge():
                known = self.acks.get(command.alert_id)
                if known is not None and known.command_id == command.command_id:
                    return False
                self.acks[command.alert_id] = command
                return True
            case StartSilence():
                return _first(self.silences, command.silence.id, command)
            case EndSilence():
                return command.silence_id in self.silences and _first(self.lifted, command.silence_id, command)
            case Request():
                return _first(self.cases, command.request_id, Case(command))
            case Decide():
                case = self.cases.get(command.request_id)
                if case is None or case.decision is not None:
                    return False
                at = ms_of(command.at)
                at = at if clock is None else min(at, clock)
                self.cases[command.request_id] = Case(case.request, command, decided_ms=at)
                return True
            case Revoke():
                case = self.cases.get(command.request_id)
                if case is None or case.state != "approved":
                    return False
                self.cases[command.request_id] = Case(case.request, case.decision, command, case.decided_ms)
                return True
        return False  # an annotation changes no alert

    def forget(self, clock: int) -> None:
        """Drop what ended long before the clock: it can have no effect any more."""
        long_ago = clock - KEEP_MS
        for name in [n for n, s in self.silences.items() if ms_of(s.silence.ends) < long_ago]:
            del self.silences[name]
            self.lifted.pop(name, None)
        for name in [n for n, c in self.cases.items() if ms_of(c.request.expires) < long_ago]:
            del self.cases[name]
        for name in [n for n, a in self.acks.items() if ms_of(a.at) < long_ago]:
            del self.acks[name]


def _first(known: dict[str, T], name: str, value: T) -> bool:
    if name in known:
        return False
    known[name] = value
    return True
