"""What usage.deliveries says, for the command line: the last record of each delivery, what failed, what is owed again."""

from collections.abc import Sequence
from typing import Any

from streams.cli.screen import Table, console
from streams.cli.watching import complete
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.notify.book import Book
from streams.notify.delivery import Delivery, decode
from streams.notify.instants import rfc3339

FAILED = ("failed", "given_up")


async def history(kafka: KafkaClient) -> list[Delivery]:
    """Every record of usage.deliveries that can be read, in order."""
    log, found = kafka.log(topics.DELIVERIES, 0), list[Delivery]()
    begin, end = await log.bounds()
    async for message in log.read(begin, end):
        try:
            found.append(decode(message.value or b""))
        except ValueError:
            continue
    return found


def latest(records: Sequence[Delivery]) -> list[Delivery]:
    """The last record of each delivery, as every reader folds it; the newest delivery first."""
    book, kept = Book(), dict[str, Delivery]()
    for one in records:
        if book.take(one):
            kept[one.delivery_id] = one
    return sorted(kept.values(), key=lambda d: -d.queued_at)


def wanted(found: Sequence[Delivery], asked: str, failed: bool, endpoint: str) -> list[Delivery]:
    """Of deliveries those that are asked for: by the id of an alert or delivery, or its beginning; by endpoint; what failed.

    CommandRefused when several ids begin so: who owes again must not meet what they did not mean.
    """
    name = complete(asked, (n for d in found for n in (d.delivery_id, d.alert_id)), "delivery") if asked else None
    return [
        d
        for d in found
        if (not asked or name in (d.delivery_id, d.alert_id))
        and (not endpoint or d.endpoint == endpoint)
        and (not failed or d.status in FAILED)
    ]


def again(chosen: Sequence[Delivery], everything: Sequence[Delivery], at: int, by: str) -> list[Delivery]:
    """The records by which deliveries are owed again, under their ids."""
    over = {d.alert_id: d.revision for d in everything if d.state == "resolved"}
    return [
        one.now(
            at,
            status="sending",
            attempt=0,
            again=one.again + 1,
            queued_at=at,
            next_at=at,
            by=by,
            stands=over.get(one.alert_id, 0) <= one.revision,
        )
        for one in chosen
    ]


def row_of(one: Delivery) -> dict[str, Any]:
    """A delivery for people and machines."""
    return {
        "delivery_id": one.delivery_id, "alert_id": one.alert_id, "revision": one.revision, "endpoint": one.endpoint,
        "route": one.route, "status": "held" if one.held_by else one.status, "attempt": one.attempt, "again": one.again,
        "code": one.code, "error": one.error, "state": one.state, "severity": one.facts.get("severity"),
        "owner": one.facts.get("owner"), "queued_at": rfc3339(one.queued_at), "at": rfc3339(one.at),
        "next_at": rfc3339(one.next_at) if one.next_at else None, "by": one.by,
    }  # fmt: skip


def show(found: Sequence[Delivery]) -> None:
    """A table."""
    table = Table("delivery", "alert", "rev", "state", "endpoint", "status", "tries", "at", "next", "why", box=None)
    for one in map(row_of, found):
        texts = (one["delivery_id"][:12], one["alert_id"], one["revision"], one["state"], one["endpoint"], one["status"],
                 one["attempt"], one["at"][:19], (one["next_at"] or "")[:19], one["error"] or "")  # fmt: skip
        table.add_row(*(str(text) for text in texts))
    console().print(table)
