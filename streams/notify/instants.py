"""Moments as other people's formats want them; everything of ours is ms since 1970, UTC."""

from datetime import UTC, datetime


def utc(ms: int) -> datetime:
    """An aware moment."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def rfc3339(ms: int) -> str:
    """`2026-11-27T08:00:00.000Z`."""
    return utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms_of(text: object) -> int | None:
    """Of an RFC 3339 moment with a zone; None when it is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
