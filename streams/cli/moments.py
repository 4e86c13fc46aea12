"""Times as people write them on the command line, one way for every verb."""

from datetime import UTC, datetime

import typer

from streams.catalog.limits import FIRST, LAST

DAY = "2026-11-24"


def moment(given: str) -> datetime:
    """RFC 3339 with a zone, or a bare day, which begins in UTC. One line says how to write it otherwise."""
    try:
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise typer.BadParameter(f"{given}: is no time; write {DAY} or {DAY}T12:00:00Z") from error
    if found.tzinfo is None and len(given) > len(DAY):
        raise typer.BadParameter(f"{given}: has no zone; write it as {given}Z")
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if found < FIRST:
        raise typer.BadParameter(f"{given}: lies before 1970, where nothing was metered; mend the year")
    if found >= LAST:
        raise typer.BadParameter(f"{given}: lies after {LAST.year - 1}; mend the year")
    return found.astimezone(UTC)


def moment_ms(given: str | None) -> int | None:
    """The same in ms since the epoch; nothing stays nothing."""
    return None if given is None else int(moment(given).timestamp() * 1000)


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
