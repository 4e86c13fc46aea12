"""Every payload against the published limits, whatever the names in an alert hold; what it must say; what it must not."""

import json
import re
import shlex
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from streams.catalog.routes import Endpoint
from streams.notify import limits, slack, teams
from streams.notify.channels import Letter, mail_of, payload
from streams.notify.delivery import Delivery, facts_of
from streams.notify.notice import clip, notice_of
from streams.notify.webhook import body, type_of
from streams.watch.alert_records import query_of, typed
from tests.support.notifying import START, alert

ENDPOINTS = {
    kind: Endpoint.model_validate({"id": "e", "kind": kind, **keys})
    for kind, keys in {
        "slack_webhook": {"url": "env:X"},
        "slack_bot": {"secrets": "env:X", "channel": "C1"},
        "webhook": {"url": "https://x.example", "secrets": "env:X"},
        "pagerduty": {"secrets": "env:X"},
        "alertmanager": {"url": "http://am.example"},
        "teams": {"url": "env:X"},
        "email": {"server": "m.example:25", "sender": "a@x.example", "to": "b@x.example"},
        "topic": {},
    }.items()
}
ASTRAL = "\N{MATHEMATICAL SCRIPT CAPITAL X}"  # two units in UTF-16, four bytes in UTF-8
NASTY = "<!channel> <https://evil.example|click> *bold* `code` [link](https://evil.example) \r\nBcc: x@evil.example \u202e&\x00"
texts = st.text(max_size=60) | st.sampled_from(
    [NASTY, "x" * 5_000, ASTRAL * 5_000, '"' * 4_000, "\x00" * 3_000, "&" * 3_000]
)
dimensions = st.dictionaries(st.sampled_from(["team", "model", "user_id", "attributes.a.b-c"]), texts, max_size=4)
contributors = st.lists(
    st.fixed_dictionaries({"dimension": texts, "value": texts, "amount": st.just("1.5"), "share": st.just("0.5")}),
    max_size=40,
)
records = st.builds(
    alert,
    st.integers(0, 99).map(lambda n: f"a{n}"),
    state=st.sampled_from(["firing", "acknowledged", "resolved"]),
    scope=texts, dimensions=dimensions, budget_id=texts, owner=st.none() | texts, accountable=st.none() | texts, summary=texts,
    runbook=texts, query=st.none() | texts, tenant_id=texts, contributors=contributors, threshold=texts,
    value=st.sampled_from(["1", "-1.50", "NaN", "1e999", "nonsense"]) | st.none(),
    severity=st.sampled_from(["info", "critical", "odd"]),
)  # fmt: skip


def letter(record: dict[str, Any]) -> Letter:
    one = Delivery(
        delivery_id="d" * 32, alert_id=record["alert_id"], revision=1, endpoint="e", route="r", group="g", partition=0,
        offset=0, status="sending", at=START, queued_at=START, facts=facts_of(record),
    )  # fmt: skip
    return Letter(one, record, hand_off="take over")


def shown(kind: str, *found: dict[str, Any]) -> Any:
    return payload(ENDPOINTS[kind], [letter(one) for one in found], "https://usage.acme.example", START)


def check_slack(found: dict[str, Any]) -> None:
    assert len(found["blocks"]) <= limits.SLACK_BLOCKS.most
    assert 0 < len(found["text"]) <= limits.SLACK_TEXT.most
    assert slack.size_of(found["blocks"]) <= limits.SLACK_ALL.most
    for block in found["blocks"]:
        Block.parse(block).validate_json()  # type: ignore[union-attr]  # Slack's own models hold it too
        match block["type"]:
            case "header":
                assert 0 < len(block["text"]["text"]) <= limits.SLACK_HEADER.most
            case "section":
                assert "text" not in block or 0 < len(block["text"]["text"]) <= limits.SLACK_SECTION.most
                assert len(block.get("fields", ())) <= limits.SLACK_FIELDS.most
                assert all(0 < len(f["text"]) <= limits.SLACK_FIELD.most for f in block.get("fields", ()))
            case "context":
                assert 0 < len(block["elements"]) <= limits.SLACK_CONTEXT.most
            case kind:
                assert kind == "divider"


def check_pagerduty(found: dict[str, Any]) -> None:
    assert found["event_action"] in ("trigger", "acknowledge", "resolve")
    assert 0 < len(found["dedup_key"]) <= limits.PAGERDUTY_DEDUP_KEY.most
    assert 0 < len(found["payload"]["summary"]) <= limits.PAGERDUTY_SUMMARY.most
    assert found["payload"]["severity"] in ("critical", "error", "warning", "info")
    assert found["payload"]["source"]
    assert len(json.dumps(found).encode()) <= limits.PAGERDUTY_BODY.most
    assert "routing_key" not in found


def check_alertmanager(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["startsAt"] < one["endsAt"]
        assert one["labels"]["alertname"]
        for name, value in one["labels"].items():
            assert re.fullmatch(limits.LABEL_NAME, name)
            assert 0 < len(value) <= limits.ALERTMANAGER_LABEL.most
        assert not {"value", "percent", "summary"} & set(one["labels"])  # amounts are annotations
        assert all(re.fullmatch(limits.LABEL_NAME, name) for name in one["annotations"])


def check_teams(found: dict[str, Any]) -> None:
    [attached] = found["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attached["content"]["type"] == "AdaptiveCard"
    assert attached["content"]["version"] == "1.4"
    assert len(json.dumps(found, ensure_ascii=False).encode()) <= limits.TEAMS_BODY.most


def check_webhook(found: dict[str, Any]) -> None:
    assert set(found) == {"type", "timestamp", "data"}
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", found["type"])
    assert len(json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()) < limits.WEBHOOK_BODY.most


def check_mail(found: str) -> None:
    head, _, text = found.partition("\n\n")
    headers = re.sub(r"\n[ \t]+", " ", head).split("\n")
    names = [line.partition(":")[0] for line in headers]
    assert not {"bcc", "cc"} & {name.lower() for name in names}
    assert names.count("To") == names.count("Subject") == names.count("From") == 1
    assert all(len(line) <= limits.MAIL_LINE.most for line in found.splitlines())
    assert text


CHECKS: dict[str, Callable[[Any], None]] = {
    "slack_webhook": check_slack, "slack_bot": check_slack, "pagerduty": check_pagerduty, "alertmanager": check_alertmanager,
    "teams": check_teams, "webhook": check_webhook, "topic": check_webhook, "email": check_mail,
}  # fmt: skip


@pytest.mark.parametrize("kind", CHECKS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(found=st.lists(records, min_size=1, max_size=3))
def test_a_payload_keeps_to_the_published_limits_whatever_names_hold(kind: str, found: list[dict[str, Any]]) -> None:
    CHECKS[kind](shown(kind, *found))


@pytest.mark.parametrize("kind", ["slack_webhook", "teams", "email"])
@pytest.mark.parametrize("count", [2, 9, 40, 400])
@pytest.mark.parametrize("name", ["a", "x" * 4_000, "&" * 900, ASTRAL * 900])
def test_many_alerts_are_one_message_within_the_limits(kind: str, count: int, name: str) -> None:
    found = shown(kind, *(alert(f"a{n}", dimensions={"team": name}, summary=name) for n in range(count)))

    CHECKS[kind](found)
    assert f"{count} alerts: {count} firing" in json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize(
    "kind", ["slack_webhook", "slack_bot", "pagerduty", "alertmanager", "teams", "webhook", "topic", "email"]
)
def test_every_payload_names_scope_value_limit_window_people_causes_link_and_query(kind: str) -> None:
    found = shown(kind, alert())
    whole = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    said = whole.replace("\\\\", "").replace("=\n", "").replace("=3D", "=")

    for part in ("a1", "41.5", "50", "83.0", "Europe/Berlin", "platform", "cfo@acme.example", "gpt-5.2", "take over"):
        assert part in said, part
    assert "/v1/alerts/a1" in said
    assert re.search(r"usage-streams query cost.?_by.?_team", said)


def test_a_name_cannot_call_a_channel_or_make_a_link_in_slack() -> None:
    found = shown("slack_webhook", alert(dimensions={"team": NASTY}, summary=NASTY, query=NASTY))
    parts = [p for b in found["blocks"] for p in (b.get("text") or {}, *b.get("fields", ()), *b.get("elements", ()))]
    marked = "".join(part["text"] for part in parts if part.get("type") == "mrkdwn") + found["text"]

    assert "&lt;!channel&gt;" in marked
    assert set(re.findall("<[^>]*>", marked)) == {"<https://usage.acme.example/v1/alerts/a1|open>"}  # our own
    assert "\u202e" not in marked


HOSTILE = [
    "a`;echo PWNED;`",
    "a';echo PWNED;'",
    'a";echo PWNED;"',
    "$(echo PWNED)",
    "a\necho PWNED\n",
    "a\\';echo PWNED #",
    "a & echo PWNED",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("is_old", [False, True])
def test_no_name_can_execute_anything_where_the_command_is_pasted(kind: str, name: str, is_old: bool) -> None:
    query = query_of(name, {"tenant_id": name, "team": name}, 0, 3_600_000)
    record = alert(tenant_id="t", scope="s", query=query if is_old else typed(query, "a1"))

    whole = shown(kind, record)

    text = whole if isinstance(whole, str) else json.dumps(whole)
    for seen in {
        text,
        text.replace("\\\\", ""),
        text.replace("=\n", ""),
    }:  # as it is, or without the escapes of a channel
        assert "PWNED" not in seen
    assert "alerts explain a1" in text


@pytest.mark.parametrize("name", ["acme", "Größe", "a b", "o:x/y@z"])
def test_an_ordinary_name_is_queried_by_itself(name: str) -> None:
    query = query_of(name, {"tenant_id": name, "team": "a`,b"}, 0, 3_600_000)

    assert notice_of(alert(query=query)).command == query
    assert f"tenant={name}" in shlex.split(query)


def test_a_command_that_is_too_long_to_be_shown_whole_is_another() -> None:
    query = query_of("acme", {"team": "x" * 400}, 0, 3_600_000)

    assert notice_of(alert(query=query)).command == "usage-streams alerts explain a1"


def test_a_name_cannot_make_a_link_in_teams() -> None:
    found = shown("teams", alert(dimensions={"team": NASTY}, summary=NASTY, query=NASTY))
    texts = [part.get("text", "") for part in found["attachments"][0]["content"]["body"]]

    assert any("evil" in text for text in texts)
    assert not [text for text in texts if re.search(r"(?<!\\)[<\[\]*`]", text)]


def test_a_name_cannot_add_a_header_to_a_mail() -> None:
    mail = mail_of(
        ENDPOINTS["email"], [letter(alert(dimensions={"team": NASTY}))], [notice_of(alert(dimensions={"team": NASTY}))]
    )

    assert mail["Bcc"] is None
    assert mail["To"] == "b@x.example"


def test_an_alert_that_opens_anew_begins_a_thread_of_its_own_and_an_attempt_keeps_its_id() -> None:
    #  revision  1 opens   2 reminder   3 resolved   4 opens anew   5 resolved
    def mail(revision: int, state: str, reason: str, since: int) -> EmailMessage:
        record = alert("a1", revision, state, reason=reason, since=f"2026-11-18T{since}:00:00.000Z")
        one = letter(record)
        one = Letter(msgspec.structs.replace(one.delivery, delivery_id=f"{revision:032}", revision=revision), record)
        return mail_of(ENDPOINTS["email"], [one], [notice_of(record)])

    opened, reminder, over = (
        mail(1, "firing", "crossed", 10),
        mail(2, "firing", "reminder", 10),
        mail(3, "resolved", "cleared", 10),
    )
    anew, over_anew = mail(4, "firing", "crossed", 12), mail(5, "resolved", "cleared", 12)

    assert len({m["Message-ID"] for m in (opened, reminder, over, anew, over_anew)}) == 5
    assert opened["In-Reply-To"] is anew["In-Reply-To"] is None
    assert reminder["In-Reply-To"] == over["References"] == opened["Message-ID"]
    assert over_anew["In-Reply-To"] == anew["Message-ID"]
    assert mail(4, "firing", "crossed", 12)["Message-ID"] == anew["Message-ID"]


@given(st.text(), st.integers(1, 80))
def test_clipped_text_fits_and_cuts_no_escape_in_half(text: str, most: int) -> None:
    found = clip(text, most, slack.escape)

    assert len(found) <= most
    assert re.sub("&(amp|lt|gt);", "", found).count("&") == 0
    assert len(clip(text, most, teams.escape)) <= most


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({}, "budget.threshold.crossed"),
        ({"state": "resolved"}, "budget.threshold.resolved"),
        ({"state": "acknowledged"}, "budget.threshold.acknowledged"),
        ({"reason": "reminder"}, "budget.threshold.reminded"),
        ({"reason": "escalated"}, "budget.threshold.escalated"),
        ({"kind": "burn_rate"}, "budget.burn_rate.crossed"),
        ({"kind": "run"}, "run.limit.crossed"),
        ({"kind": "something new"}, "usage.alert.crossed"),
    ],
)
def test_the_type_of_an_event_says_what_happened_to_what(record: dict[str, Any], kind: str) -> None:
    assert type_of(alert(**record)) == kind


def test_a_body_that_is_too_large_loses_its_causes_before_anything_else() -> None:
    many = [{"dimension": "model", "value": "x" * 500, "amount": "1", "share": "0.1"}] * 100

    found = json.loads(body("budget.threshold.crossed", alert(contributors=many), START))

    assert found["data"]["truncated"] is True
    assert len(found["data"]["contributors"]) == 3
    assert found["data"]["value"] == "41.5"


def test_an_alert_that_lacks_everything_but_its_id_can_be_told() -> None:
    bare = {"alert_id": "a", "revision": 1, "state": "firing"}

    for kind, check in CHECKS.items():
        check(payload(ENDPOINTS[kind], [Letter(letter(alert()).delivery, bare)], "", START))
