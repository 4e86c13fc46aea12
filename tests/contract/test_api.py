"""The HTTP surface, asked in this process: what it answers, what it appends, whom it lets in, how it says no."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.doors.view import Alert
from streams.links import Link
from streams.watch.alerts import instant
from streams.watch.commands import EndSilence, StartSilence, read_command
from streams.watch.freshness import beat_key, beat_record
from tests.support.doors import Doorway, alert, enforcement, tokens
from tests.support.knowledge import NOW, record
from tests.support.memory_log import MemoryLog

MONTH = Calendar(every="month")
CATALOG = Catalog(
    budgets=(
        Budget(id="company", limit=Decimal(100), period=MONTH),
        Budget(id="team", each=("team",), limit=Decimal(10), period=MONTH, parent="company"),
        Budget(id="beta-only", tenant="beta", where={"model": "m"}, limit=Decimal(1), period=MONTH),
    )
)
TEAM, COMPANY = "team|tenant_id=acme|team=search", "company|tenant_id=acme"
TODAY = f"{datetime.fromtimestamp(NOW / 1000, UTC):%Y-%m-%d}"
LATER = (datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(days=2)).isoformat()


@pytest.fixture
def doorway() -> Doorway:
    found = Doorway(CATALOG)
    found.budgets(record(TEAM, "9"), record(COMPANY, "40", "100"))
    return found


async def get(doorway: Doorway, path: str, token: str = "", **given: Any) -> httpx2.Response:
    async with doorway.client(token) as client:
        return await client.get(path, **given)


async def post(doorway: Doorway, path: str, body: Any = None, token: str = "", **given: Any) -> httpx2.Response:
    async with doorway.client(token) as client:
        return await client.post(path, json=body, **given)


def problem(response: httpx2.Response) -> tuple[int, str]:
    """Of an RFC 9457 answer: status and the one line."""
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert (said["status"], said["type"]) == (response.status_code, "about:blank")
    assert "\n" not in said["detail"]
    return response.status_code, said["detail"]


# checks


async def test_a_check_by_dimensions_answers_for_every_scope_that_covers_the_request(doorway: Doorway) -> None:
    answer = await get(doorway, "/v1/check?tenant=acme&team=search&amount=0.5")

    said = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (said["verdict"], said["allowed"], said["headroom"], said["staleness_ms"]) == ("warn", "0.5", "1", 0)
    assert [f["scope"] for f in said["scopes"]] == [TEAM, COMPANY]


async def test_an_amount_over_what_is_left_is_stopped_and_the_answer_says_how_much_fits(doorway: Doorway) -> None:
    said = (await get(doorway, "/v1/check", params={"tenant": "acme", "team": "search", "amount": "1.5"})).json()

    assert (said["verdict"], said["stop_reason"], said["allowed"], said["binding"]) == ("stop", "amount", "1", TEAM)


async def test_a_zero_in_a_dozen_letters_costs_no_more_than_another_zero(doorway: Doorway) -> None:
    plain = await get(doorway, "/v1/check?tenant=acme&team=search&amount=0")

    assert (await get(doorway, "/v1/check?tenant=acme&team=search&amount=0E-400000000")).content == plain.content


async def test_several_scopes_are_asked_by_their_keys_at_once(doorway: Doorway) -> None:
    other = "team|tenant_id=acme|team=a\\|b"

    said = (await get(doorway, "/v1/check", params=[("scope", TEAM), ("scope", other)])).json()

    assert {f["scope"] for f in said["scopes"]} == {TEAM, other, COMPANY}


async def test_a_batch_answers_in_order_and_a_bad_question_spoils_no_other(doorway: Doorway) -> None:
    questions = [
        {"tenant": "acme", "dimensions": {"team": "search"}, "amount": "0.5"},
        {"scopes": ["nobody|tenant_id=acme"]},
        {"dimensions": {"tenant_id": "acme", "teem": "search"}},
        {"scopes": [COMPANY]},
    ]

    answers = (await post(doorway, "/v1/check", {"questions": questions})).json()["answers"]

    assert [a.get("verdict", a.get("problem", {}).get("status")) for a in answers] == ["warn", 404, 400, "allow"]
    assert answers[2]["problem"]["detail"] == "parameter teem: is no dimension; is it team?"


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("", 400, "question is empty; give tenant=... and what else the request's event will say, or scope=KEY"),
        ("team=search", 400, "tenant is missing; add tenant=..."),
        ("tenant=acme&teem=search", 400, "parameter teem: is no dimension; is it team?"),
        ("tenant=acme&ammount=1", 400, "parameter ammount: is no dimension; is it amount?"),
        ("tenant=acme&team=a&team=b", 400, "parameter team: is given twice; give it once"),
        ("tenant=acme&tenant_id=beta", 400, "tenant acme: tenant_id says beta; give one of them"),
        ("tenant=acme&amount=-1", 400, "parameter amount: money is -1; give a positive decimal string below 10^15"),
        ("tenant=acme&amount=much", 400, "parameter amount: money is 'much'; write a decimal string"),
        ("tenant=acme&amount=NaN", 400, "parameter amount: money is NaN; give a positive decimal string below 10^15"),
        ("tenant=acme&unit=euros", 400, None),
        ("tenant=acme&scope=x", 400, "question has scopes and dimensions; give either"),
        ("scope=team", 400, "scope team: is no key of a scope; write it as budget|tenant_id=acme|team=search"),
        ("tenant=%FF", 400, None),
        ("nonsense", 400, None),
        ("scope=" + "&scope=".join(["company|tenant_id=acme"] * 101), 400, None),
        ("scope=tema|tenant_id=acme", 404,
         "scope tema|tenant_id=acme: no budget and no run limit is called tema; take one that the catalog has"),
    ],
)  # fmt: skip
async def test_a_question_that_is_none_is_refused_in_one_line_with_the_remedy(
    doorway: Doorway, query: str, status: int, detail: str | None
) -> None:
    found = problem(await get(doorway, f"/v1/check?{query}"))

    assert found[0] == status
    assert detail is None or found[1] == detail


async def test_old_knowledge_says_how_old_and_lets_the_budget_decide(doorway: Doorway) -> None:
    doorway.clock.now += 75_000

    said = (await get(doorway, "/v1/check?tenant=acme&team=search")).json()
    ready = await get(doorway, "/readyz")

    assert (said["verdict"], said["degraded"], said["staleness_ms"]) == ("allow", True, 75_000)
    assert ready.status_code == 503
    assert ready.json()["reasons"] == [
        "usage is not metered (75 s behind); look at the broker and the meter",
        "partition 0 of usage.totals is not watched (75 s behind); look at the watch",
    ]


async def test_an_api_whose_meter_and_watch_are_each_behind_is_not_ready_once_both_are_a_minute(
    doorway: Doorway,
) -> None:
    #  NOW   all is known
    #  +20   the heartbeat: the observation of +25 is not in what it covers
    #  +25   the meter has covered what there was at +25
    #  +50   the observation is 25 s old, the heartbeat 30 s; what is known is that of NOW, 50 s
    #  +65   40 s, 45 s; 65 s
    doorway.take("usage.budgets", [(beat_key(0), beat_record(0, NOW + 20_000, NOW + 20_000))])
    doorway.view.freshness.observe(NOW + 25_000, {0: 6}, {0: 6}, NOW + 25_000)

    doorway.clock.now = NOW + 50_000
    before = (await get(doorway, "/readyz")).json()
    doorway.clock.now = NOW + 65_000
    after = (await get(doorway, "/readyz")).json()

    assert (before["ready"], before["staleness_ms"]) == (True, {"0": 50_000})
    assert (after["ready"], after["staleness_ms"]) == (False, {"0": 65_000})
    assert after["reasons"] == [
        "partition 0 of usage.totals is known too late (65 s behind); look at the meter and the watch"
    ]


async def test_before_anything_is_read_a_check_says_so_and_a_process_is_alive(doorway: Doorway) -> None:
    doorway.view.waits_for = "kafka 127.0.0.1:9: no broker answers; start one with `usage-streams up`"

    refused = await get(doorway, "/v1/check?tenant=acme")

    assert problem(refused) == (503, doorway.view.waits_for)
    assert refused.headers["retry-after"] == "2"
    assert (await get(doorway, "/healthz")).status_code == 200
    assert (await get(doorway, "/readyz")).json()["reasons"] == [doorway.view.waits_for]


async def test_of_a_scope_that_memory_had_no_place_for_nothing_is_known() -> None:
    doorway = Doorway(CATALOG, most=1)
    doorway.budgets(record(TEAM, "1"), record(COMPANY, "99", "100"))

    said = (await get(doorway, "/v1/check?tenant=acme&team=search")).json()

    assert {f["scope"]: f["degraded"] for f in said["scopes"]} == {TEAM: False, COMPANY: True}
    assert "USAGE_STREAMS_API_SCOPES" in (await get(doorway, "/readyz")).json()["reasons"][0]


# what is read


async def test_a_late_record_of_a_former_owner_changes_nothing_and_a_tombstone_ends_a_scope(doorway: Doorway) -> None:
    stamp = {"stream": "s1", "partition": 0, "offset": 6}
    doorway.budgets(record(TEAM, "1", stamp=stamp))
    doorway.take("usage.budgets", [(COMPANY.encode(), None), (b"broken", b"{")])

    found = (await get(doorway, "/v1/budgets")).json()["budgets"]

    assert [(b["scope"], b["used"], b["as_of"]) for b in found] == [(TEAM, "9", "2026-09-21T14:13:19.500Z")]


async def test_budgets_come_in_pages_and_by_filters(doorway: Doorway) -> None:
    doorway.budgets(*(record(f"team|tenant_id=acme|team=t{i}", "10" if i % 2 else "1") for i in range(9)))

    seen, after = list[str](), None
    while True:
        params = {"budget": "team", "limit": 4, **({"after": after} if after else {})}
        page = (await get(doorway, "/v1/budgets", params=params)).json()
        seen += [b["scope"] for b in page["budgets"]]
        if (after := page["next"]) is None:
            break
    stopped = (await get(doorway, "/v1/budgets?verdict=stop&tenant=acme")).json()["budgets"]

    assert seen == [TEAM, *(f"team|tenant_id=acme|team=t{i}" for i in range(9))]
    assert len(stopped) == 4
    assert problem(await get(doorway, "/v1/budgets?verdict=stopp"))[0] == 422


async def test_a_page_goes_on_although_the_last_scope_of_the_one_before_is_gone(doorway: Doorway) -> None:
    doorway.budgets(*(record(f"team|tenant_id=acme|team=t{i}", "1") for i in (2, 0, 1)))
    after = "team|tenant_id=acme|team=t0"
    doorway.take("usage.budgets", [(after.encode(), None)])

    found = (await get(doorway, "/v1/budgets", params={"after": after})).json()["budgets"]

    assert [b["scope"][-2:] for b in found] == ["t1", "t2"]


async def test_an_alert_is_shown_as_its_highest_revision_says(doorway: Doorway) -> None:
    doorway.alerts(alert("a1"), alert("a2", team="ads"), alert("a1", 2, "acknowledged"), alert("a1", 1))

    listed = (await get(doorway, "/v1/alerts")).json()["alerts"]
    firing = (await get(doorway, "/v1/alerts?state=firing&owner=platform&severity=warning")).json()["alerts"]
    one = (await get(doorway, "/v1/alerts/a1")).json()

    assert [(a["alert_id"], a["state"]) for a in listed] == [("a1", "acknowledged"), ("a2", "firing")]
    assert [a["alert_id"] for a in firing] == ["a2"]
    assert (one["revision"], one["summary"]) == (2, "search: 80 % of 10 USD")
    assert problem(await get(doorway, "/v1/alerts/zz")) == (404, "alert zz: there is none; GET /v1/alerts lists them")


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("2026-11-27T10:00:00.500Z", 1),
        ("2026-11-27T10:00:00Z", 1),
        ("2026-11-27T11:00:00+02:00", 1),  # 09:00 UTC
        ("2026-11-27T03:00:00-08:00", 0),  # 11:00 UTC
        ("2026-11-27T10:00:00.501Z", 0),
        ("2026-11-27", 1),
    ],
)
async def test_alerts_since_a_moment_are_those_at_or_after_it_in_whatever_zone(
    doorway: Doorway, since: str, found: int
) -> None:
    doorway.alerts(alert("a1", occurred_at="2026-11-27T10:00:00.500Z"))

    assert len((await get(doorway, "/v1/alerts", params={"since": since})).json()["alerts"]) == found


@pytest.mark.parametrize("since", ["garbage", "", "2026-11-27T10:00:00", "5", "20261127", "-1.5", "1e400"])
async def test_alerts_since_no_moment_are_refused(doorway: Doorway, since: str) -> None:
    assert problem(await get(doorway, "/v1/alerts", params={"since": since}))[0] == 422


async def test_changes_of_verdicts_are_listed_the_newest_first(doorway: Doorway) -> None:
    doorway.enforcements(
        enforcement(1), enforcement(2, "allow"), enforcement(3, team="ads"), enforcement(1)
    )  # a replay

    found = (await get(doorway, "/v1/enforcements?scope=" + TEAM)).json()["enforcements"]

    assert [(e["enforcement_id"], e["verdict"], e["text"]) for e in found] == [
        ("e2", "allow", "the team's money is spent"), ("e1", "stop", "the team's money is spent")
    ]  # fmt: skip


# acts


async def test_an_acknowledgement_is_a_command_signed_by_whoever_asked(doorway: Doorway) -> None:
    doorway.alerts(alert("a1"))

    answer = await post(doorway, "/v1/alerts/a1/ack", {"note": "on it"})

    [sent] = doorway.sent()
    assert answer.status_code == 202
    assert answer.json()["command_id"] == sent["command_id"]
    assert {k: sent[k] for k in ("kind", "alert_id", "note", "by", "scope")} == {
        "kind": "ack", "alert_id": "a1", "note": "on it", "by": "loopback", "scope": TEAM
    }  # fmt: skip


async def test_an_acknowledgement_needs_no_body_and_an_alert_that_fires(doorway: Doorway) -> None:
    taken = alert("a4", 2, "acknowledged", acknowledged={"by": "ada"})
    doorway.alerts(alert("a1"), alert("a2", 2, "resolved"), alert("a3", state="pending"), taken)

    assert (await post(doorway, "/v1/alerts/a1/ack")).status_code == 202
    for name, said in (
        ("a2", "is resolved; only what fires can be acknowledged"),
        ("a3", "is pending; only what fires can be acknowledged"),
        ("a4", "ada has acknowledged it already; nothing is left to do"),
    ):
        assert problem(await post(doorway, f"/v1/alerts/{name}/ack")) == (409, f"alert {name}: {said}")
    assert problem(await post(doorway, "/v1/alerts/a5/ack"))[0] == 404
    assert [c["alert_id"] for c in doorway.sent()] == ["a1"]


async def test_a_silence_is_asked_for_and_ended(doorway: Doorway) -> None:
    asked = {"match": {"rules": ["team"], "where": {"team": "search"}}, "ends": LATER, "reason": "load test"}

    made = (await post(doorway, "/v1/silences", asked)).json()["silence_id"]
    doorway.hear()
    async with doorway.client() as client:
        ended = await client.delete(f"/v1/silences/{made}")
        unknown = await client.delete("/v1/silences/zz")

    started, over = (read_command(m.value) for m in doorway.log.messages)  # type: ignore[attr-defined]
    assert isinstance(started, StartSilence)
    assert isinstance(over, EndSilence)
    assert started.silence.match.where == {"team": "search"}
    assert (over.silence_id, ended.status_code) == (made, 202)
    assert problem(unknown)[0] == 404


REQUEST = {
    "budget": "team", "tenant": "acme", "where": {"team": "search"}, "extra": "5", "justification": "launch", "expires": LATER,
}  # fmt: skip


async def test_an_exception_is_requested_decided_once_and_counts_in_the_next_check(doorway: Doorway) -> None:
    name = (await post(doorway, "/v1/exceptions", {**REQUEST, "where": {"team": "new"}})).json()["request_id"]
    doorway.hear()
    asked = (await get(doorway, "/v1/exceptions?state=requested")).json()["exceptions"]
    before = (await get(doorway, "/v1/check?tenant=acme&team=new")).json()

    decided = await post(doorway, f"/v1/exceptions/{name}/decide", {"approved": True, "note": "until Friday"})
    doorway.hear()
    again = await post(doorway, f"/v1/exceptions/{name}/decide", {"approved": False})
    after = (await get(doorway, "/v1/check?tenant=acme&team=new")).json()

    assert [a["request"]["request_id"] for a in asked] == [name]
    assert decided.status_code == 202
    assert problem(again) == (
        409,
        f"exception {name}: was approved by loopback on {TODAY}; request it anew under another name",
    )
    assert (before["headroom"], after["headroom"]) == ("10", "15")
    assert after["scopes"][0]["exception"]["extra"] == "5"

    revoked = await post(doorway, f"/v1/exceptions/{name}/revoke", {"note": "over"})
    doorway.hear()
    assert revoked.status_code == 202
    assert (await get(doorway, "/v1/check?tenant=acme&team=new")).json()["headroom"] == "10"


async def test_what_has_expired_is_neither_approved_nor_revoked(doorway: Doorway) -> None:
    soon = {**REQUEST, "where": {"team": "new"}, "expires": instant(NOW + 3_600_000)}
    waiting, given = [(await post(doorway, "/v1/exceptions", soon)).json()["request_id"] for _ in range(2)]
    doorway.hear()
    await post(doorway, f"/v1/exceptions/{given}/decide", {"approved": True})
    doorway.hear()
    doorway.clock.now += 7_200_000

    late = problem(await post(doorway, f"/v1/exceptions/{waiting}/decide", {"approved": True}))
    over = problem(await post(doorway, f"/v1/exceptions/{given}/revoke"))

    assert (late[0], "request it anew with a later day" in late[1]) == (409, True)
    assert over == (409, f"exception {given}: expired by itself; nothing is left to do")
    assert (await post(doorway, f"/v1/exceptions/{waiting}/decide", {"approved": False})).status_code == 202


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget": "tema"}, "budget tema is unknown; is it team?"),
        ({"tenant": None}, "tenant: is missing; say whose budget it is"),
        ({"where": {}}, "where lacks team: budget team holds for each; name the one that is meant"),
        ({"where": {}, "tenant": "*"}, "where lacks team: budget team holds for each; name the one that is meant"),
        ({"where": {"team": "search", "model": "m"}}, "where names model, by which budget team does not hold; leave it out"),
        ({"budget": "beta-only", "where": {}}, "budget beta-only is for tenant beta, not for acme; mend tenant"),
        ({"expires": "2020-01-01"}, "expires after it starts, and extra is above 0; mend it"),
        ({"expires": "2020-01-01", "starts": "2019-01-01"}, "expires 2020-01-01 00:00 is past; give a later day"),
        ({"extra": "0"}, "expires after it starts, and extra is above 0; mend it"),
        ({"extra": 0.5}, 'extra: money is a float: 0.5; write it as a string, "0.5"'),
        ({"justification": ""}, "justification: String should have at least 1 character, not ''; mend it"),
        ({"why": "x"}, "why: is no field of it; leave it out"),
    ],
)  # fmt: skip
async def test_a_request_that_cannot_be_decided_is_refused(doorway: Doorway, change: dict[str, Any], said: str) -> None:
    assert problem(await post(doorway, "/v1/exceptions", REQUEST | change)) == (422, said)
    assert doorway.sent() == []


async def test_a_command_that_every_reader_would_skip_is_not_said_to_have_landed(doorway: Doorway) -> None:
    company = REQUEST | {"budget": "company", "where": {}, "tenant": "a" * 129}

    status, detail = problem(await post(doorway, "/v1/exceptions", company))

    assert (status, "length <= 128" in detail, "$.tenant" in detail) == (422, True, True)
    assert doorway.sent() == []


async def test_a_deploy_can_be_posted_as_an_annotation(doorway: Doorway) -> None:
    body = {
        "type": "deploy",
        "text": "search 4.2",
        "match": {"where": {"team": "search"}},
        "at": "2026-11-20T10:00:00Z",
    }

    answer = await post(doorway, "/v1/annotations", body)

    [sent] = doorway.sent()
    assert answer.status_code == 202
    assert (sent["kind"], sent["type"], sent["moment"]) == ("annotate", "deploy", "2026-11-20T10:00:00Z")


async def test_a_broker_that_does_not_acknowledge_is_said_and_nobody_claims_that_it_landed() -> None:
    doorway = Doorway(CATALOG, log=MemoryLog(lambda: "unknown"), patience=0.3)
    doorway.alerts(alert("a1"))

    answer = await post(doorway, "/v1/alerts/a1/ack")

    status, detail = problem(answer)
    assert (status, answer.headers["retry-after"]) == (503, "2")
    assert "has not acknowledged it, it may count or not; look, then send again" in detail
    assert (
        len({c["command_id"] for c in doorway.sent()}) == 1
    )  # the same command each time, so that readers drop repeats


# links


async def link(doorway: Doorway, act: str, name: str, seconds: int = 600, by: str = "cfo") -> str:
    answer = await post(doorway, "/v1/links", {"act": act, "id": name, "by": by, "seconds": seconds})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["link"])


async def requested(doorway: Doorway, **change: Any) -> str:
    name = str((await post(doorway, "/v1/exceptions", REQUEST | change)).json()["request_id"])
    doorway.hear()
    return name


async def test_a_link_shows_what_it_would_do_and_only_confirming_does_it(doorway: Doorway) -> None:
    name = await requested(doorway, justification="<b>launch</b>")
    path = await link(doorway, "approve", name)

    pages = [await get(doorway, path) for _ in range(3)]  # a preview, a scanner, a person
    before = len(doorway.sent())
    done = await post(doorway, path)

    assert before == 1
    assert all("Approve this exception?" in p.text and "&lt;b&gt;launch" in p.text for p in pages)
    assert "default-src 'none'" in pages[0].headers["content-security-policy"]
    assert "Approved." in done.text
    assert {k: doorway.sent()[1][k] for k in ("kind", "approved", "approver", "by", "note")} == {
        "kind": "decide", "approved": True, "approver": "cfo", "by": "cfo", "note": "by link, signed by loopback"
    }  # fmt: skip
    doorway.hear()
    assert "was approved by cfo" in (await get(doorway, path)).text
    assert (await post(doorway, path)).status_code == 409


def origin_in_a_browser(page: httpx2.Response) -> str:
    """What a browser sends with a page's own form (Fetch, 3.2: a request whose policy is no-referrer has the origin null)."""
    url = page.request.url
    return "null" if page.headers["referrer-policy"] == "no-referrer" else f"{url.scheme}://{url.netloc.decode()}"


async def test_the_button_of_a_link_works_in_a_browser_and_another_site_gets_neither_address_nor_button(
    doorway: Doorway,
) -> None:
    doorway.alerts(alert("a1"))
    path = await link(doorway, "ack", "a1")
    page = await get(doorway, path)

    foreign = await post(doorway, path, headers={"Origin": "null"})  # a sandboxed frame, a page from a file
    pressed = await post(doorway, path, headers={"Origin": origin_in_a_browser(page)})

    assert page.headers["referrer-policy"] == "same-origin"
    assert problem(foreign)[0] == 403
    assert "Acknowledged." in pressed.text
    assert [c["kind"] for c in doorway.sent()] == ["ack"]


async def test_a_link_does_one_thing_on_one_thing(doorway: Doorway) -> None:
    name = await requested(doorway)
    doorway.alerts(alert("a1"))
    approve, acknowledge = await link(doorway, "approve", name), await link(doorway, "ack", "a1", by="on-call")

    acked = await post(doorway, acknowledge)

    assert "Acknowledged." in acked.text
    assert [(c["kind"], c["by"]) for c in doorway.sent()] == [("request", "loopback"), ("ack", "on-call")]
    for forged in (approve[:-1], approve + "x", approve.replace("/v1/links/", "/v1/links/x"), "/v1/links/nonsense"):
        assert problem(await post(doorway, forged))[0] == 404


async def test_a_link_acknowledges_once_however_often_the_alert_opens_again(doorway: Doorway) -> None:
    #  revision  1 firing  2 reminder  3 acknowledged  4 resolved  5 firing
    #  since     10:00     10:00       10:00           10:00       12:00
    #  link      signed    good        used            over        over
    ten, twelve = {"since": "2026-11-20T10:00:00.000Z"}, {"since": "2026-11-20T12:00:00.000Z"}
    doorway.alerts(alert("a1", 1, **ten))
    path = await link(doorway, "ack", "a1")
    doorway.alerts(alert("a1", 2, reason="reminder", **ten))
    used = await post(doorway, path)

    doorway.alerts(alert("a1", 3, "acknowledged", **ten))
    twice = await post(doorway, path)
    doorway.alerts(alert("a1", 4, "resolved", **ten), alert("a1", 5, **twelve))
    page, again = await get(doorway, path), await post(doorway, path)

    assert [used.status_code, twice.status_code, again.status_code] == [200, 409, 409]
    assert "opened anew since the link was signed" in again.text
    assert "There is nothing to do" in page.text
    assert len(doorway.sent()) == 1


async def test_what_cannot_be_done_is_not_signed(doorway: Doorway) -> None:
    doorway.alerts(alert("a1", state="resolved"))
    name = await requested(doorway)
    await post(doorway, f"/v1/exceptions/{name}/decide", {"approved": False})
    doorway.hear()

    for act, subject in (("ack", "a1"), ("approve", name)):
        assert problem(await post(doorway, "/v1/links", {"act": act, "id": subject, "by": "cfo"}))[0] == 409


async def test_a_link_expires(doorway: Doorway) -> None:
    name = await requested(doorway)
    path = await link(doorway, "deny", name, seconds=60)
    doorway.clock.now += 61_000

    assert problem(await get(doorway, path)) == (410, "link: has expired; ask for another one")
    assert doorway.sent()[1:] == []


async def test_nobody_approves_what_they_asked_for_nor_vouches_for_who_does(tmp_path: Path) -> None:
    both = 'roles = ["operate", "approve"]'
    secrets = tokens(tmp_path / "t.toml", ann=both, bob=both)
    doorway = Doorway(CATALOG, tmp_path / "t.toml")
    name = (await post(doorway, "/v1/exceptions", REQUEST, secrets["ann"])).json()["request_id"]
    doorway.hear()
    said = (403, f"exception {name}: ann asked for it; somebody else must approve it")

    own = await post(doorway, f"/v1/exceptions/{name}/decide", {"approved": True}, secrets["ann"])
    vouched = await post(doorway, "/v1/links", {"act": "approve", "id": name, "by": "cfo"}, secrets["ann"])
    for_her = await post(doorway, "/v1/links", {"act": "approve", "id": name, "by": "ann"}, secrets["bob"])
    of_old = await post(doorway, doorway.door.links.path(Link("approve", name, "cfo", "ann")))
    taken_back = await post(doorway, f"/v1/exceptions/{name}/decide", {"approved": False}, secrets["ann"])

    assert [problem(own), problem(vouched), problem(for_her)] == [said] * 3
    assert (of_old.status_code, said[1] in of_old.text) == (403, True)
    assert taken_back.status_code == 202  # it raises no limit
    assert [c["kind"] for c in doorway.sent()] == ["request", "decide"]


# who is let in


@pytest.fixture
def guarded(tmp_path: Path) -> tuple[Doorway, dict[str, str]]:
    secrets = tokens(
        tmp_path / "tokens.toml",
        gateway='roles = ["check"]',
        search='roles = ["read", "check", "operate"]\ntenant = "acme"\nwhere = { team = "search" }',
        finance='roles = ["read", "approve"]\ntenant = "acme"',
    )
    doorway = Doorway(CATALOG, tmp_path / "tokens.toml")
    doorway.budgets(record(TEAM, "9"), record(COMPANY, "97", "100"), record("team|tenant_id=acme|team=ads", "1"))
    doorway.alerts(alert("a1"), alert("a2", team="ads"))
    doorway.enforcements(enforcement(1), enforcement(2, team="ads"))
    return doorway, secrets


async def test_a_limited_token_learns_of_no_rule_and_no_alert_of_others(
    guarded: tuple[Doorway, dict[str, str]],
) -> None:
    doorway, secrets = guarded
    doorway.alerts(alert("a3", team="ads", budget_id="gone"))
    own = {"ends": LATER, "reason": "r"}

    for rule, status in (("team", 202), ("beta-only", 422), ("gone", 422), ("nobodys", 422)):
        match = {"rules": [rule], "tenant": "acme", "where": {"team": "search"}}
        answer = await post(doorway, "/v1/silences", own | {"match": match}, secrets["search"])
        assert answer.status_code == status
        assert "beta" not in answer.text.replace(rule, "")


async def test_without_a_token_only_health_and_the_document_are_shown(guarded: tuple[Doorway, dict[str, str]]) -> None:
    doorway, _ = guarded
    for path in ("/v1/check?tenant=acme", "/v1/budgets", "/v1/alerts", "/v1/enforcements", "/metrics"):
        missing, unknown = await get(doorway, path), await get(doorway, path, "us_nonsense")
        assert problem(missing)[0] == problem(unknown)[0] == 401, path
        assert missing.headers["www-authenticate"] == "Bearer"
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert (await get(doorway, path)).status_code == 200


async def test_a_role_allows_what_it_names(guarded: tuple[Doorway, dict[str, str]]) -> None:
    doorway, secrets = guarded

    assert (await get(doorway, "/v1/check?tenant=acme&team=ads", secrets["gateway"])).status_code == 200
    assert problem(await get(doorway, "/v1/alerts", secrets["gateway"])) == (
        403, "token gateway: has no role read; ask whoever keeps the file of tokens"
    )  # fmt: skip
    assert problem(await get(doorway, "/v1/check?tenant=acme", secrets["finance"]))[0] == 403
    assert problem(await post(doorway, "/v1/alerts/a1/ack", token=secrets["finance"]))[0] == 403
    assert problem(await post(doorway, "/v1/exceptions/x/decide", {"approved": True}, secrets["search"]))[0] == 403


async def test_a_team_sees_its_own_scopes_alone(guarded: tuple[Doorway, dict[str, str]]) -> None:
    doorway, secrets = guarded
    token = secrets["search"]

    budgets = (await get(doorway, "/v1/budgets", token)).json()["budgets"]
    alerts = (await get(doorway, "/v1/alerts", token)).json()["alerts"]
    enforced = (await get(doorway, "/v1/enforcements", token)).json()["enforcements"]

    assert [b["scope"] for b in budgets] == [TEAM]
    assert [a["alert_id"] for a in alerts] == ["a1"]
    assert [e["enforcement_id"] for e in enforced] == ["e1"]
    assert problem(await get(doorway, "/v1/alerts/a2", token))[0] == 404


async def test_a_page_says_nothing_of_whether_a_scope_of_somebody_else_is_there(
    guarded: tuple[Doorway, dict[str, str]],
) -> None:
    doorway, secrets = guarded
    doorway.budgets(record("team|tenant_id=beta|team=secret-merger", "9"))

    there, nowhere = [
        await get(doorway, "/v1/budgets", secrets["search"], params={"after": f"team|tenant_id=beta|team={team}"})
        for team in ("secret-merger", "nothing")
    ]

    assert (there.status_code, there.content) == (nowhere.status_code, nowhere.content)


async def test_a_team_asks_for_itself_and_obeys_scopes_above_without_their_figures(
    guarded: tuple[Doorway, dict[str, str]],
) -> None:
    doorway, secrets = guarded
    token = secrets["search"]

    said = (await get(doorway, "/v1/check?amount=4", token)).json()

    above = next(f for f in said["scopes"] if f["scope"] == COMPANY)
    assert (said["verdict"], said["allowed"], said["binding"]) == ("stop", "1", TEAM)
    assert (above["verdict"], above["headroom"], above["used"], above["limit"], above["sources"]) == (
        "stop",
        "3",
        None,
        None,
        {},
    )
    for path in ("team=ads", "tenant=beta", "scope=team|tenant_id=acme|team=ads", "scope=company|tenant_id=acme"):
        assert problem(await get(doorway, f"/v1/check?{path}", token))[0] == 403


async def test_a_team_acts_on_its_own_scopes_alone(guarded: tuple[Doorway, dict[str, str]]) -> None:
    doorway, secrets = guarded
    token = secrets["search"]
    wide = {"match": {}, "ends": LATER, "reason": "r"}
    own = {"match": {"tenant": "acme", "where": {"team": "search"}}, "ends": LATER, "reason": "r"}

    assert problem(await post(doorway, "/v1/alerts/a2/ack", token=token))[0] == 404
    assert problem(await post(doorway, "/v1/silences", wide, token)) == (
        403, "match: this token is for tenant_id=acme, team=search; write tenant and where of match so"
    )  # fmt: skip
    assert problem(await post(doorway, "/v1/exceptions", REQUEST | {"where": {"team": "ads"}}, token))[0] == 403
    assert doorway.sent() == []
    assert (await post(doorway, "/v1/silences", own, token)).status_code == 202
    assert (await post(doorway, "/v1/exceptions", REQUEST | {"where": {}, "tenant": None}, token)).status_code == 202
    assert [c["by"] for c in doorway.sent()] == ["search", "search"]
    assert (doorway.sent()[1]["tenant"], doorway.sent()[1]["where"]) == ("acme", {"team": "search"})


async def test_tokens_are_read_again_when_their_file_changes_and_a_slip_keeps_the_old_ones(
    guarded: tuple[Doorway, dict[str, str]], tmp_path: Path
) -> None:
    doorway, secrets = guarded
    gate, path = doorway.door.gate, "/v1/check?tenant=acme"
    assert (await get(doorway, path, secrets["gateway"])).status_code == 200

    (tmp_path / "tokens.toml").write_text("nonsense")
    gate.look()
    assert (await get(doorway, path, secrets["gateway"])).status_code == 200

    fresh = tokens(tmp_path / "tokens.toml", another='roles = ["check"]')
    gate.look()
    assert problem(await get(doorway, path, secrets["gateway"]))[0] == 401
    assert (await get(doorway, path, fresh["another"])).status_code == 200


async def test_without_tokens_a_page_of_another_site_reaches_nothing(doorway: Doorway) -> None:
    doorway.alerts(alert("a1"))
    async with doorway.client(host="evil.example") as client:
        rebound = await client.get("/v1/check?tenant=acme")
    forged = await post(doorway, "/v1/alerts/a1/ack", headers={"Origin": "https://evil.example"})

    assert problem(rebound) == (403, "host evil.example:8686: without tokens only localhost is served")
    assert problem(forged)[1].startswith("origin https://evil.example: pages of other sites may not act here")
    assert doorway.sent() == []


# how it says no


async def test_bodies_are_bounded_whatever_they_say_of_their_length(doorway: Doorway) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    async with doorway.client() as client:
        said = await client.post("/v1/check", content=b" " * ((1 << 20) + 1))
        hidden = await client.post("/v1/check", content=chunks(), headers={"Content-Type": "application/json"})

    assert problem(said)[0] == problem(hidden)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/v2", 404, "path /v2: there is none; see /docs"),
        ("PUT", "/v1/alerts", 405, "method PUT: not here; see /docs"),
        ("POST", "/v1/check", 422, None),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    doorway: Doorway, method: str, path: str, status: int, detail: str | None
) -> None:
    async with doorway.client() as client:
        found = problem(await client.request(method, path))

    assert found[0] == status
    assert detail is None or found[1] == detail


async def test_a_rule_that_nobody_has_is_refused_and_one_that_an_alert_still_bears_is_not(doorway: Doorway) -> None:
    doorway.alerts(alert("a1", budget_id="gone"))
    silence, note = {"ends": LATER, "reason": "r"}, {"type": "deploy", "text": "v2"}
    slip = {"match": {"rules": ["tean"]}}

    for path, body in (("/v1/silences", silence), ("/v1/annotations", note)):
        assert problem(await post(doorway, path, body | slip)) == (
            422, "rule tean: no budget, burn rate, run or rule has this id; is it team?"
        )  # fmt: skip
        assert (await post(doorway, path, body | {"match": {"rules": ["gone"]}})).status_code == 202
    assert problem(await post(doorway, "/v1/silences", silence | {"ends": "2020-01-01"}))[0] == 422


async def test_a_body_that_is_no_json_and_several_slips_are_named(doorway: Doorway) -> None:
    async with doorway.client() as client:
        broken = await client.post("/v1/check", content=b"{", headers={"Content-Type": "application/json"})
    slips = await post(doorway, "/v1/silences", {"ends": "soon"})

    assert problem(broken) == (422, "body: is no JSON; send one JSON object")
    assert len(slips.json()["errors"]) == 2


async def test_a_failure_of_ours_is_a_problem_without_its_insides(doorway: Doorway) -> None:
    doorway.view.coverage = None  # type: ignore[assignment]  # as a bug may
    doorway.view.alerts["a1"] = Alert(1, "firing", b"{")

    for path in ("/v1/check?tenant=acme", "/v1/alerts/a1"):
        answer = await get(doorway, path)
        assert problem(answer) == (500, "the API failed; its log says how")
        assert "Traceback" not in answer.text


async def test_the_document_names_every_route_and_loads_nothing_from_elsewhere(doorway: Doorway) -> None:
    document, page = (await get(doorway, "/openapi.json")).json(), (await get(doorway, "/docs")).text

    assert {p for p in document["paths"] if p.startswith("/v1")} == {
        "/v1/check", "/v1/budgets", "/v1/alerts", "/v1/alerts/{alert_id}", "/v1/alerts/{alert_id}/ack", "/v1/silences",
        "/v1/silences/{silence_id}", "/v1/exceptions", "/v1/exceptions/{request_id}/decide",
        "/v1/exceptions/{request_id}/revoke", "/v1/annotations", "/v1/enforcements", "/v1/links", "/v1/links/{token}",
    }  # fmt: skip
    assert {"Answer", "Finding"} <= set(document["components"]["schemas"])
    assert document["paths"]["/v1/check"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert all(url.startswith("/") for url in re.findall(r'(?:src|href)="([^"]+)"', page))


async def test_metrics_count_checks_and_commands(doorway: Doorway) -> None:
    doorway.alerts(alert("a1"))
    await get(doorway, "/v1/check?tenant=acme&team=search")
    await post(doorway, "/v1/alerts/a1/ack")

    text = (await get(doorway, "/metrics")).text

    assert float(re.search(r'^usage_checks_total\{verdict="warn"\} (\S+)', text, re.MULTILINE)[1]) >= 1  # type: ignore[index]
    assert float(re.search(r'^usage_commands_total\{kind="ack"\} (\S+)', text, re.MULTILINE)[1]) >= 1  # type: ignore[index]
