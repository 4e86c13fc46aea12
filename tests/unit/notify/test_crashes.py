"""The stage dies at any record that it writes, endpoints come and go, alerts open and close: the promises hold.

Per alert and endpoint: no revision arrives twice, but for the one post that a kill cut off from its record, under the same id;
what was told is told to be over; nothing is owed for ever.
"""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.notify.book import Book
from streams.notify.channels import Letter
from streams.notify.delivery import Delivery
from streams.notify.retry import Answer
from tests.support.notifying import HOUR, MINUTE, SECOND, Process, World, alert

TEXT = """
[[endpoints]]
id = "pager"
kind = "pagerduty"
secrets = "env:P"
[[endpoints]]
id = "slack"
kind = "slack_webhook"
url = "env:S"
[[endpoints]]
id = "hook"
kind = "webhook"
url = "https://x.example/h"
secrets = "env:H"
[[routes]]
id = "r"
endpoints = ["pager", "slack", "hook"]
group_wait = "3s"
"""


class Died(BaseException):
    """The process is no more: a BaseException, so that nothing on the way handles it."""


class Mortal(Process):
    """Dies instead of its n-th append, having written it or not."""

    def __init__(self, world: World, committed: dict[int, int], after: int, written: bool) -> None:
        super().__init__(world, committed=committed)
        self.left, self.dead = after, False
        append = self.log._append

        async def mortal(one: Delivery) -> None:
            if self.dead:
                await asyncio.Event().wait()
            self.left -= 1
            if self.left == 0:
                self.dead = True
                if written:
                    await append(one)
                await asyncio.Event().wait()  # it never returns
            await append(one)

        self.log._append = mortal  # type: ignore[method-assign]

    async def live(self, seconds: int) -> None:
        task = asyncio.create_task(self.run(seconds * SECOND))
        while not task.done() and not self.dead:
            await asyncio.sleep(0)
        for one in (task, *self.dispatcher._tasks):
            one.cancel()
        await asyncio.gather(task, *self.dispatcher._tasks, return_exceptions=True)


steps = st.lists(
    st.tuples(
        st.sampled_from(["a1", "a2", "a3"]),
        st.integers(1, 12),  # the append at which the process dies
        st.booleans(),  # whether that one is written
        st.sampled_from([Answer(200), Answer(200), Answer(None, "connection refused"), Answer(429, "http 429", 4.0)]),
        st.integers(1, 400),  # seconds that pass before the next one
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_whatever_dies_nobody_is_told_twice_and_everything_is_told_to_be_over(
    steps: list[tuple[str, int, bool, Answer, int]],
) -> None:
    asyncio.run(story(steps))


async def story(steps: list[tuple[str, int, bool, Answer, int]]) -> None:
    world, committed = World(TEXT), dict[int, int]()
    revisions, arrived, kills = Counter[str](), Counter[tuple[str, str]](), 0

    def answering(answer: Answer):  # type: ignore[no-untyped-def]
        def script(letters: list[Letter]) -> Answer:
            if answer.taken:
                arrived.update((one.delivery.endpoint, one.delivery.delivery_id) for one in letters)
            return answer

        return script

    for name, after, written, answer, seconds in steps:
        revisions[name] += 1
        state = "firing" if revisions[name] % 2 else "resolved"
        world.publish(alert(name, revisions[name], state))
        world.script = {e: answering(answer) for e in ("pager", "slack", "hook")}
        worker = Mortal(world, committed, after, written)
        await worker.live(seconds)
        kills += worker.dead
    for name, n in revisions.items():
        if n % 2:
            revisions[name] += 1
            world.publish(alert(name, revisions[name], "resolved"))
    world.script = {e: answering(Answer(200)) for e in ("pager", "slack", "hook")}
    survivor = Process(world, committed=committed)
    await survivor.run(2 * MINUTE)
    await survivor.run(26 * HOUR, 20 * MINUTE)

    assert survivor.log.book.open == {}  # nothing is owed for ever
    assert survivor.log.book.told == {}  # and nothing stands that is over
    assert (
        sum(n - 1 for n in arrived.values()) <= 4 * kills
    )  # what was in the air when it died: at most two of two endpoints
    fresh = Process(world)  # from the beginning of usage.alerts
    before = len(world.posts)
    await fresh.run(10 * MINUTE, MINUTE)
    assert len(world.posts) == before
    for endpoint in ("pager", "slack"):
        last = dict[str, str]()
        for _, where, letters in world.posts:
            if where == endpoint:
                last |= {one.delivery.alert_id: str((one.record or {})["state"]) for one in letters}
        assert set(last.values()) <= {"resolved"}, (endpoint, last)


def record(n: int, **other: object) -> Delivery:
    given = {
        "delivery_id": f"{n:016x}" * 2, "alert_id": "a", "revision": 1, "endpoint": "e", "route": "r", "group": "g",
        "partition": 0, "offset": 0, "status": "sending", "at": 1, "queued_at": 1, "facts": {"state": "firing"},
    }  # fmt: skip
    return Delivery(**{**given, **other})  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(0, 4),
            st.sampled_from(["sending", "failed", "sent", "given_up"]),
            st.integers(1, 9),
        )
    )
)
def test_a_record_read_twice_changes_nothing_and_what_ended_stays_ended(
    found: list[tuple[int, int, str, int]],
) -> None:
    records = [record(n, attempt=a, status=s, at=at) for n, a, s, at in found]
    once, twice = Book(), Book()
    ended = set[str]()
    for one in records:
        once.take(one)
        twice.take(one)
        twice.take(one)
        ended |= {one.delivery_id} if one.final else set()
        assert not ended & set(once.open)

    assert once.open == twice.open
    assert once.told == twice.told
    assert all(once.knows(one.delivery_id) for one in records)


def test_a_person_opens_again_what_ended_and_an_alert_that_is_over_does_not_stand_again() -> None:
    book = Book()
    book.take(record(1, status="sent"))
    book.take(record(2, status="sent", revision=2, facts={"state": "resolved"}))
    assert book.told == {}

    book.take(record(1, again=1, at=5, next_at=5, stands=False))
    assert list(book.open) == [f"{1:016x}" * 2]
    book.take(record(1, again=1, at=6, attempt=1, status="sent", stands=False))

    assert book.open == {}
    assert book.told == {}
