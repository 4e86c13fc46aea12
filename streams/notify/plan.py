"""What an alert's record means for its deliveries: which are owed, which are overtaken, which nobody gets. Pure.

To people the newest state is told, and nothing that is over before they heard of it; machines (TRAITS.every) get each revision.
What was told is always told to be over, even while silenced: closing a page is not paging.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from streams.catalog.routes import Endpoint, Route, route
from streams.notify.book import Book
from streams.notify.channels import TRAITS
from streams.notify.delivery import Delivery, delivery_id, facts_of
from streams.notify.instants import ms_of

TOO_OLD_MS = 24 * 3_600_000  # as long as an attempt would have been repeated


class Place(NamedTuple):
    """Where a record stands in usage.alerts, and when the broker took it (ms)."""

    partition: int
    offset: int
    timestamp: int


class Asked(NamedTuple):
    """What the catalog says, by id."""

    endpoints: Mapping[str, Endpoint]
    routes: Sequence[Route]
    versions: Mapping[str, str]


def plan(
    record: Mapping[str, Any], place: Place, asked: Asked, book: Book, flying: Collection[str], now: int
) -> list[Delivery]:
    """Records to append to usage.deliveries, what is owed before what it overtakes; none when it was seen before.

    flying: ids of deliveries that are being posted at this moment
    """
    return list(_Plan(record, place, asked, book, flying, now).records())


class _Plan(NamedTuple):
    record: Mapping[str, Any]
    place: Place
    asked: Asked
    book: Book
    flying: Collection[str]
    now: int

    def records(self) -> Iterator[Delivery]:
        match self.record.get("state"):
            case "firing":
                yield from self._firing()
            case "acknowledged" | "resolved":
                yield from self._closing()

    def _firing(self) -> Iterator[Delivery]:
        silenced = self.record.get("silenced")
        detected = ms_of(self.record.get("detected_at")) or self.place.timestamp
        why = f"silenced by {silenced.get('id')} until {silenced.get('until')}" if silenced else ""
        if not why and self.now - max(detected, self.place.timestamp) >= TOO_OLD_MS:
            why = "older than a day when it was read"
        for one, endpoints in route(self.record, self.asked.routes):
            for endpoint in (e for e in endpoints if e in self.asked.endpoints):
                fresh = self._fresh(one, endpoint, self._arrived(endpoint))
                if self.book.knows(fresh.delivery_id):
                    yield from self._overtaken(endpoint)  # a kill may have come between the two
                elif why:
                    yield fresh.now(self.now, status="suppressed", error=why)
                else:
                    yield fresh.now(self.now, status="sending", next_at=self._when(one, fresh))
                    yield from self._overtaken(endpoint)

    def _closing(self) -> Iterator[Delivery]:
        alert, state = str(self.record["alert_id"]), str(self.record["state"])
        leads = {e: one for one, endpoints in route(self.record, self.asked.routes) for e in endpoints}
        for endpoint in self.book.concerned(alert):
            one, known = leads.get(endpoint) or self._former(endpoint), self.asked.endpoints.get(endpoint)
            older = self.book.owed(alert, endpoint)
            arrived = self._arrived(endpoint)
            fresh = self._fresh(one, endpoint, arrived)
            every = known is not None and TRAITS[known.kind].every
            if self.book.knows(fresh.delivery_id) or (not arrived and not (every and older)):
                yield from self._overtaken(endpoint)  # over before anybody heard of it
                continue
            if known is None or (one is None and state != "resolved"):
                why = "no route leads there any more"
            elif state == "resolved" and one is not None and not one.resolved:
                why = f"route {one.id} tells no resolutions"
            elif state == "acknowledged" and not TRAITS[known.kind].acks:
                continue
            else:
                yield fresh.now(self.now, status="sending", next_at=self._when(one, fresh))
                yield from self._overtaken(endpoint)
                continue
            yield from self._overtaken(endpoint)
            if state == "resolved":  # so that whoever folds this knows that it is over
                yield fresh.now(self.now, status="suppressed", error=why)

    def _former(self, endpoint: str) -> Route | None:
        """The route by which it was told, though it leads elsewhere by now: who was told of an alert is told of its end."""
        told = self.book.told.get((str(self.record["alert_id"]), endpoint))
        return next((one for one in self.asked.routes if told and one.id == told.route), None)

    def _arrived(self, endpoint: str) -> bool:
        """Whether somebody there may know of the alert."""
        alert = str(self.record["alert_id"])
        return (alert, endpoint) in self.book.told or any(
            d.may_have_arrived or d.delivery_id in self.flying for d in self.book.owed(alert, endpoint)
        )

    def _overtaken(self, endpoint: str) -> Iterator[Delivery]:
        known, revision = self.asked.endpoints.get(endpoint), int(self.record["revision"])
        if known is not None and TRAITS[known.kind].every:
            return
        for one in self.book.owed(str(self.record["alert_id"]), endpoint):
            if one.delivery_id not in self.flying and one.revision < revision:
                yield one.now(self.now, status="suppressed", stands=False, error=f"overtaken by revision {revision}")

    def _when(self, one: Route | None, fresh: Delivery) -> int:
        """At once what concerns what was told already; what is new waits for its group, as long as the first of that does."""
        known = self.asked.endpoints[fresh.endpoint]
        if not TRAITS[known.kind].grouped or self.record.get("reason") in ("reminder", "escalated"):
            return self.now
        if (told := self.book.told.get((fresh.alert_id, fresh.endpoint))) and told.answer:
            return self.now
        waiting = self.book.waiting(fresh.endpoint, fresh.group)
        return waiting if waiting is not None else self.now + (one.group_wait if one else 0)

    def _fresh(self, one: Route | None, endpoint: str, heard: bool) -> Delivery:
        record = self.record
        alert, revision = str(record["alert_id"]), int(record["revision"])
        values = {**record, **(record.get("dimensions") or {})}
        group = "|".join([one.id, *(str(values.get(name, "")) for name in one.group_by)]) if one else ""
        return Delivery(
            delivery_id=delivery_id(alert, revision, endpoint),
            alert_id=alert,
            revision=revision,
            endpoint=endpoint,
            route=one.id if one else "",
            group=group,
            partition=self.place.partition,
            offset=self.place.offset,
            status="sending",
            at=self.now,
            queued_at=self.now,
            version=self.asked.versions.get(endpoint, ""),
            facts=facts_of(record),
            dimensions=dict(record.get("dimensions") or {}),
            heard=heard,
        )
