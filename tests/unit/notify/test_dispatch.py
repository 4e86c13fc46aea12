"""The stage in virtual time: who is told what, when, how often; whatever dies in between."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from streams.cli.deliveries import again, latest
from streams.notify.channels import Letter
from streams.notify.delivery import encode
from streams.notify.retry import SCHEDULE, Answer
from tests.support.notifying import HOUR, MINUTE, SECOND, START, Process, World, alert, catalog

SLACK = '[[endpoints]]\nid = "slack"\nkind = "slack_webhook"\nurl = "env:S"\n'
PAGER = '[[endpoints]]\nid = "pager"\nkind = "pagerduty"\nsecrets = "env:P"\n'
HOOK = '[[endpoints]]\nid = "hook"\nkind = "webhook"\nurl = "https://x.example/h"\nsecrets = "env:H"\n'
BOT = '[[endpoints]]\nid = "bot"\nkind = "slack_bot"\nsecrets = "env:B"\nchannel = "C1"\n'
MANAGER = '[[endpoints]]\nid = "am"\nkind = "alertmanager"\nurl = "http://am.example:9093"\n'
ALL = SLACK + PAGER + HOOK + BOT + MANAGER


def to(*endpoints: str, **keys: str) -> str:
    more = "".join(f"{k} = {v}\n" for k, v in keys.items())
    listed = ", ".join(f'"{e}"' for e in endpoints)
    return f'{ALL}[[routes]]\nid = "r"\nendpoints = [{listed}]\n{more}'


def always(answer: Answer) -> Callable[[list[Letter]], Answer]:
    return lambda letters: answer


def test_alerts_of_a_group_are_told_in_one_message_after_the_wait_of_the_first() -> None:
    async def story() -> None:
        world = World(to("slack", group_wait='"10s"'))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(4 * SECOND)
        world.publish(alert("a2"), alert("other", budget_id="else"))
        await worker.run(30 * SECOND)

        assert [
            (at - START, [one.record["alert_id"] for one in letters if one.record]) for at, _, letters in world.posts
        ] == [
            (11 * SECOND, ["a1", "a2"]),  # read after 1 s
            (15 * SECOND, ["other"]),
        ]

    asyncio.run(story())


def test_a_slow_endpoint_delays_no_other() -> None:
    async def story() -> None:
        world = World(to("slack", "pager", group_wait='"0s"'))
        worker = Process(world)
        gate = asyncio.Event()
        send = worker.dispatcher._send

        async def slowly(endpoint, letters, ports, now):  # type: ignore[no-untyped-def]
            if endpoint.id == "slack":
                await gate.wait()
            return await send(endpoint, letters, ports, now)

        worker.dispatcher._send = slowly
        for n in range(5):
            world.publish(alert(f"a{n}"))
            world.now += SECOND
            await worker.take(land=False)
            await asyncio.sleep(0)

        for _ in range(50):
            await asyncio.sleep(0)
        assert len(world.posted("pager")) == 5
        assert world.posted("slack") == []
        gate.set()
        await worker.dispatcher.landed()
        await worker.run(5 * SECOND)
        assert sorted({name for name, _ in world.posted("slack")}) == [f"a{n}" for n in range(5)]

    asyncio.run(story())


def test_a_restart_or_a_replay_of_the_whole_topic_tells_nobody_again() -> None:
    async def story() -> None:
        world = World(to("slack", "pager", "hook", group_wait='"0s"'))
        world.publish(alert("a1"), alert("a2"))
        await Process(world).run(5 * SECOND)
        world.publish(alert("a1", 2, "resolved"))
        await Process(world, committed={0: 2}).run(5 * SECOND)
        before = world.posted()

        await Process(world).run(MINUTE)  # from the beginning: the commit is lost
        for message in list(world.alerts[0].messages):  # and a rebuild that publishes the same alerts again
            world.alerts[0].land(message.value, message.headers, message.key)
        await Process(world).run(MINUTE)

        assert world.posted() == before
        assert sorted(before) == sorted([("a1", 1), ("a2", 1), ("a1", 2)] * 3)

    asyncio.run(story())


def test_a_failing_delivery_is_tried_on_the_schedule_for_a_day_and_then_given_up() -> None:
    async def story() -> None:
        world = World(to("pager"))
        world.script["pager"] = always(Answer(404 + 96, "http 500"))
        worker = Process(world)
        world.publish(alert())
        await worker.run(26 * HOUR, 5 * SECOND)

        first = world.posts[0][0]
        assert len(world.posts) == len(SCHEDULE)
        for (at, _, _), planned in zip(world.posts, SCHEDULE, strict=True):
            assert planned <= at - first <= planned + 11 * MINUTE  # an open breaker may add to it
        assert world.last("a1").status == "given_up"
        assert world.last("a1").code == 500

    asyncio.run(story())


def test_what_was_pending_goes_on_with_its_schedule_after_a_restart() -> None:
    async def story() -> None:
        world = World(to("pager"))
        world.script["pager"] = always(Answer(None, "connection refused"))
        world.publish(alert())
        await Process(world).run(10 * SECOND)  # attempts 1 and 2
        assert world.last("a1").attempt == 2

        heir = Process(world, committed={0: 1})
        await heir.run(4 * MINUTE)
        assert len(world.posts) == 2
        world.script["pager"] = always(Answer(202))
        await heir.run(2 * MINUTE)

        assert len(world.posts) == 3
        assert (world.last("a1").status, world.last("a1").attempt) == ("sent", 3)

    asyncio.run(story())


def test_a_kill_between_post_and_record_repeats_that_post_once_under_the_same_id() -> None:
    async def story() -> None:
        world = World(to("hook"))
        world.publish(alert())
        worker = Process(world)
        append, dead = worker.log.append, asyncio.Event()

        async def dies(*deliveries):  # type: ignore[no-untyped-def]
            if any(d.status == "sent" for d in deliveries):
                await dead.wait()
            await append(*deliveries)

        worker.log.append = dies  # type: ignore[method-assign]
        world.now += SECOND
        await worker.take(land=False)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(world.posts) == 1  # it arrived, and nobody wrote that down

        heir = Process(world, committed={0: 1})
        await heir.run(20 * SECOND)
        assert len(world.posts) == 1  # the former owner may still be at it
        await heir.run(HOUR)
        assert len(world.posts) == 2
        ids = {one.delivery.delivery_id for _, _, letters in world.posts for one in letters}
        assert len(ids) == 1
        for task in worker.dispatcher._tasks:
            task.cancel()

    asyncio.run(story())


def test_retry_after_is_honoured_and_holds_back_the_whole_endpoint() -> None:
    async def story() -> None:
        world = World(to("pager"))
        world.script["pager"] = always(Answer(429, "http 429", retry_after=120.0))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(2 * SECOND)
        world.script["pager"] = always(Answer(202))
        world.publish(alert("a2"))
        await worker.run(110 * SECOND)
        assert len(world.posts) == 1
        await worker.run(5 * MINUTE)
        assert world.posted() == [("a1", 1), ("a1", 1), ("a2", 1)] or world.posted() == [
            ("a1", 1),
            ("a2", 1),
            ("a1", 1),
        ]
        assert world.posts[1][0] - world.posts[0][0] >= 120 * SECOND

    asyncio.run(story())


def test_what_is_refused_for_good_is_not_tried_again_and_a_gone_endpoint_gets_nothing_more_until_it_is_changed() -> (
    None
):
    async def story() -> None:
        world = World(to("pager", "hook"))
        world.script["pager"] = always(Answer(400, "http 400", final=True))
        world.script["hook"] = always(Answer(410, "http 410", final=True))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(HOUR, MINUTE)
        world.publish(alert("a2"))
        await worker.run(HOUR, MINUTE)

        assert world.posted("pager") == [("a1", 1), ("a2", 1)]  # another payload may be taken
        assert world.posted("hook") == [("a1", 1)]
        assert world.last("a2", "hook").status == "given_up"
        assert "410" in (world.last("a2", "hook").error or "")
        changed = to("pager", "hook").replace("https://x.example/h", "https://x.example/new")
        world.catalog = World(changed).catalog
        world.script["hook"] = always(Answer(204))
        world.publish(alert("a3"))
        await worker.run(MINUTE)
        assert world.last("a3", "hook").status == "sent"

    asyncio.run(story())


@pytest.mark.parametrize(
    "routes", ["", '[[routes]]\nid = "r"\nendpoints = ["pager"]\nmatch = {severities = ["info"]}\n']
)
def test_who_was_told_of_an_alert_is_told_of_its_end_though_no_route_leads_there_any_more(routes: str) -> None:
    async def story() -> None:
        world = World(to("pager"))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(MINUTE)
        world.catalog = catalog(ALL + routes)
        world.publish(alert("a1", 2, "resolved"), alert("a2"))
        await worker.run(MINUTE)

        assert world.posted("pager") == [("a1", 1), ("a1", 2)]

    asyncio.run(story())


def test_a_pause_that_one_address_asked_for_does_not_hold_for_another() -> None:
    async def story() -> None:
        world = World(to("hook"))
        world.script["hook"] = always(Answer(429, "http 429", retry_after=86_400.0))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(MINUTE)
        world.catalog = catalog(to("hook").replace("https://x.example/h", "https://x.example/new"))
        world.script["hook"] = always(Answer(204))
        world.publish(alert("a2"))
        await worker.run(MINUTE)

        assert world.posted("hook") == [("a1", 1), ("a2", 1)]

    asyncio.run(story())


def test_what_is_asked_for_again_while_it_is_in_the_air_is_posted_again() -> None:
    async def story() -> None:
        world = World(to("hook", group_wait='"0s"'))
        worker = Process(world)
        gate, send = asyncio.Event(), worker.dispatcher._send

        async def slowly(*given: Any) -> Answer:
            await gate.wait()
            return await send(*given)

        worker.dispatcher._send = slowly
        world.script["hook"] = lambda letters: Answer(404, "no", final=True) if len(world.posts) == 1 else Answer(204)
        world.publish(alert("a1"))
        world.now += SECOND
        await worker.take(land=False)
        while not latest(world.records())[0].attempt:
            await asyncio.sleep(0)
        for one in again(latest(world.records()), latest(world.records()), world.now, "me"):
            world.deliveries.land(encode(one), [], one.delivery_id.encode())
        await worker.log.refresh()
        gate.set()
        await worker.dispatcher.landed()
        await worker.run(MINUTE)

        assert world.posted("hook") == [("a1", 1), ("a1", 1)]
        assert [(d.status, d.again) for d in world.records() if d.final] == [("given_up", 0), ("sent", 1)]

    asyncio.run(story())


def test_after_five_failures_an_endpoint_is_left_alone_and_then_tried_by_one_delivery() -> None:
    async def story() -> None:
        world = World(to("pager"))
        world.script["pager"] = always(Answer(None, "connection refused"))
        worker = Process(world)
        world.publish(*(alert(f"a{n}") for n in range(20)))
        await worker.run(25 * SECOND)
        assert len(world.posts) in (5, 6)  # two at once
        await worker.run(12 * SECOND)
        assert len(world.posts) in (6, 7)  # a probe

        world.script["pager"] = always(Answer(202))
        await worker.run(20 * MINUTE, 5 * SECOND)
        assert {d.status for d in (world.last(f"a{n}") for n in range(20))} == {"sent"}

    asyncio.run(story())


def test_pending_and_silenced_alerts_are_told_to_nobody_and_what_was_told_is_told_to_be_over() -> None:
    async def story() -> None:
        world = World(to("pager", "slack", group_wait='"0s"'))
        worker = Process(world)
        silence = {"id": "s1", "until": "2026-11-19T00:00:00Z", "reason": "planned"}
        world.publish(alert("p", state="pending"), alert("s", silenced=silence), alert("t"))
        await worker.run(5 * SECOND)
        assert {name for name, _ in world.posted()} == {"t"}
        assert world.last("s").status == "suppressed"
        assert "silenced by s1" in (world.last("s").error or "")

        world.publish(alert("s", 2, "resolved"), alert("t", 2, "resolved", silenced=silence), alert("p", 2, "resolved"))
        await worker.run(5 * SECOND)
        assert sorted(set(world.posted())) == [("t", 1), ("t", 2)]

    asyncio.run(story())


def test_what_is_over_before_anybody_heard_of_it_is_told_to_no_person_but_to_machines() -> None:
    async def story() -> None:
        world = World(to("slack", "hook", group_wait='"30s"'))
        worker = Process(world)
        world.publish(alert("a1"), alert("a1", 2, "resolved"))
        await worker.run(2 * MINUTE)

        assert world.posted("slack") == []
        assert world.posted("hook") == [("a1", 1), ("a1", 2)]
        assert world.last("a1", "slack").error == "overtaken by revision 2"

    asyncio.run(story())


def test_what_may_have_arrived_is_told_to_be_over() -> None:
    async def story() -> None:
        world = World(to("pager"))
        world.script["pager"] = always(Answer(None, "no answer in time"))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(2 * SECOND)
        world.script["pager"] = always(Answer(202))
        world.publish(alert("a1", 2, "resolved"))
        await worker.run(10 * MINUTE, 5 * SECOND)

        assert world.posted() == [("a1", 1), ("a1", 2)]  # never a trigger after its resolve

    asyncio.run(story())


def test_a_route_without_resolutions_tells_none_and_forgets_the_alert() -> None:
    async def story() -> None:
        world = World(to("slack", resolved="false", group_wait='"0s"'))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(3 * SECOND)
        world.publish(alert("a1", 2, "resolved"))
        await worker.run(3 * SECOND)

        assert world.posted() == [("a1", 1)]
        assert worker.log.book.told == {}

    asyncio.run(story())


def test_an_escalation_goes_to_its_step_and_the_end_to_everybody_who_was_told() -> None:
    async def story() -> None:
        steps = '[{ after = "30m", endpoints = ["hook"] }, { after = "1h", endpoints = ["bot"] }]'
        world = World(to("pager", escalate=steps))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(5 * SECOND)
        world.publish(alert("a1", 2, reason="escalated", escalation=1))
        await worker.run(5 * SECOND)
        world.publish(alert("a1", 3, reason="reminder", escalation=1))
        await worker.run(5 * SECOND)
        world.publish(alert("a1", 4, "resolved", escalation=1))
        await worker.run(15 * SECOND)

        assert world.posted("pager") == [("a1", 1), ("a1", 3), ("a1", 4)]
        assert world.posted("hook") == [("a1", 2), ("a1", 3), ("a1", 4)]
        assert world.posted("bot") == []

    asyncio.run(story())


def test_alerts_of_before_yesterday_page_nobody_when_the_stage_is_new() -> None:
    async def story() -> None:
        world = World(to("pager"))
        worker = Process(world)
        world.publish(alert("old", detected_at="2026-11-01T00:00:00Z"))
        world.now += 0

        async def with_old_timestamps() -> None:
            from streams.pipeline.frames import Record

            await worker.take()
            message = world.alerts[0].messages[0]
            await worker._partitions[0].settle([Record(0, START - 25 * HOUR, message.value, message.headers)])

        worker.committed[0] = 1
        await with_old_timestamps()
        await worker.run(MINUTE)

        assert world.posts == []
        assert world.last("old").error == "older than a day when it was read"

    asyncio.run(story())


BUDGETS = """
[[budgets]]
id = "company"
limit = "100"
owner = "platform"
period = { kind = "calendar", every = "day" }
[[budgets]]
id = "team-day"
each = ["team"]
limit = "10"
owner = "platform"
parent = "company"
period = { kind = "calendar", every = "day" }
"""


def test_a_child_says_nothing_while_its_parent_pages_and_speaks_when_that_is_over() -> None:
    async def story() -> None:
        world = World(BUDGETS + to("pager", group_wait='"10s"'), partitions=2)
        worker = Process(world)
        parent = alert("parent", budget_id="company", dimensions={}, severity="critical")
        world.publish(parent, partition=1)
        await worker.run(2 * SECOND)
        world.publish(alert("child"))
        await worker.run(HOUR, MINUTE)
        assert world.posted() == [("parent", 1)]
        assert world.last("child").held_by == "parent"

        heir = Process(world, committed=worker.committed)  # what is held survives
        world.publish(parent | {"revision": 2, "state": "resolved"}, partition=1)
        await heir.run(MINUTE)
        assert world.posted() == [("parent", 1), ("parent", 2), ("child", 1)]

    asyncio.run(story())


BURNS = """
[[burn_rates]]
id = "company-burn"
budget = "company"
[[burn_rates]]
id = "team-burn"
budget = "team-day"
"""
PARENT: dict[str, Any] = {"budget_id": "company", "dimensions": {}, "severity": "critical"}


@pytest.mark.parametrize(
    ("parent", "child", "posts"),
    [
        ({}, {}, ["parent"]),
        ({}, {"owner": "search"}, ["parent"]),  # who is told is what counts
        ({"threshold": "1"}, {}, ["parent"]),
        ({}, {"threshold": "1"}, ["parent", "child"]),  # 80 % says nothing of what is stopped
        ({}, {"threshold": "guard"}, ["parent", "child"]),
        ({"threshold": "guard"}, {"threshold": "1"}, ["parent", "child"]),
        ({"threshold": "guard"}, {"threshold": "guard"}, ["parent"]),
        ({"severity": "info"}, {}, ["parent", "child"]),
        ({}, {"kind": "burn_rate", "budget_id": "team-burn", "threshold": "1h/5m"}, ["parent", "child"]),
        (
            {"kind": "burn_rate", "budget_id": "company-burn", "threshold": "1h/5m"},
            {"kind": "burn_rate", "budget_id": "team-burn", "threshold": "6h/30m"},
            ["parent"],
        ),
    ],
)
def test_a_parent_holds_back_a_child_of_its_kind_that_is_neither_more_severe_nor_further(
    parent: dict[str, Any], child: dict[str, Any], posts: list[str]
) -> None:
    async def story() -> None:
        world = World(BUDGETS + BURNS + to("pager"))
        worker = Process(world)
        world.publish(alert("parent", **(PARENT | parent)))
        await worker.run(2 * SECOND)
        world.publish(alert("child", **child))
        await worker.run(HOUR, MINUTE)

        assert [name for name, _ in world.posted()] == posts

    asyncio.run(story())


@pytest.mark.parametrize("owner", [None, "platform"])
def test_an_endpoint_that_hears_nothing_of_the_parent_is_told_of_the_child(owner: str | None) -> None:
    async def story() -> None:
        match = 'match = { rules = ["company"] }\n'
        routes = (
            ALL
            + '[[routes]]\nid = "c"\nendpoints = ["hook"]\n'
            + match
            + '[[routes]]\nid = "t"\nendpoints = ["pager"]\n'
        )
        world = World(BUDGETS + routes)
        worker = Process(world)
        world.publish(alert("parent", **PARENT, owner=owner))
        await worker.run(2 * SECOND)
        world.publish(alert("child", owner=owner))
        await worker.run(HOUR, MINUTE)

        assert world.posted("pager") == [("child", 1)]

    asyncio.run(story())


def test_alertmanager_is_told_again_what_stands_before_it_forgets_and_nobody_writes_that_down() -> None:
    async def story() -> None:
        world = World(to("am", group_wait='"0s"'))
        worker = Process(world)
        world.publish(alert("a1"))
        await worker.run(10 * MINUTE)
        times = [at for at, _, _ in world.posts]
        assert max(b - a for a, b in pairwise(times)) <= 90 * SECOND
        assert len(world.records()) == 3  # owed, under way, sent

        heir = Process(world, committed={0: 1})
        count = len(world.posts)
        await heir.run(3 * MINUTE)
        assert len(world.posts) > count
        world.publish(alert("a1", 2, "resolved"))
        await heir.run(5 * SECOND)
        count = len(world.posts)
        await heir.run(10 * MINUTE)
        assert len(world.posts) == count

    asyncio.run(story())


def test_two_workers_share_the_partitions_and_a_takeover_sends_nothing_twice() -> None:
    async def story() -> None:
        world = World(to("pager", "hook"), partitions=2)
        committed: dict[int, int] = {}
        a, b = Process(world, {0}, committed), Process(world, {1}, committed)
        world.publish(alert("a1"), partition=0)
        world.publish(alert("b1"), partition=1)
        for _ in range(5):
            await a.run(SECOND)
            await b.take()
        a.owns.discard(0)
        b.owns.add(0)
        world.publish(alert("a1", 2, "resolved"), partition=0)
        for _ in range(5):
            await b.run(SECOND)
            await a.take()

        assert sorted(world.posted()) == sorted([("a1", 1), ("b1", 1), ("a1", 2)] * 2)

    asyncio.run(story())


def test_a_message_of_several_alerts_is_changed_as_a_whole_until_the_last_is_over() -> None:
    async def story() -> None:
        world = World(to("bot", group_wait='"5s"'))
        world.script["bot"] = always(Answer(200, reference="C1/17.1"))
        worker = Process(world)
        world.publish(alert("a1"), alert("a2"))
        await worker.run(10 * SECOND)
        world.publish(alert("a1", 2, "resolved"))
        await worker.run(5 * SECOND)
        world.publish(alert("a2", 2, "acknowledged"), alert("a2", 3, "resolved"))
        await worker.run(5 * SECOND)

        shown = [
            [(one.delivery.alert_id, (one.record or {})["state"], one.told) for one in post]
            for _, _, post in world.posts
        ]
        assert shown == [
            [("a1", "firing", None), ("a2", "firing", None)],
            [("a1", "resolved", "C1/17.1"), ("a2", "firing", "C1/17.1")],
            [("a2", "resolved", "C1/17.1"), ("a1", "resolved", "C1/17.1")],
        ]
        assert worker.log.book.messages == {}
        assert worker.log.book.told == {}

    asyncio.run(story())


def test_a_payload_that_cannot_be_made_is_given_up_and_harms_no_neighbour() -> None:
    async def story() -> None:
        world = World(to("pager"))

        def breaks(letters: list[Letter]) -> Answer:
            if letters[0].delivery.alert_id == "bad":
                raise KeyError("x")
            return Answer(202)

        world.script["pager"] = breaks
        worker = Process(world)
        world.publish(alert("bad"), alert("good"))
        await worker.run(5 * SECOND)

        assert (world.last("bad").status, world.last("good").status) == ("given_up", "sent")

    asyncio.run(story())


def test_a_record_that_is_none_is_passed_over() -> None:
    async def story() -> None:
        world = World(to("pager"))
        worker = Process(world)
        world.alerts[0].land(b"{nonsense", [])
        world.alerts[0].land(b"[]", [])
        world.deliveries.land(b"{nonsense", [])
        world.publish(alert("good"))
        await worker.run(5 * SECOND)

        assert world.posted() == [("good", 1)]

    asyncio.run(story())
