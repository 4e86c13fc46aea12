"""Every channel against real sockets that misbehave: what arrives, what is believed of the answer, what is tried again."""

import asyncio
import json
import logging
import ssl
import time
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from streams.catalog.routes import Endpoint
from streams.notify.address import look_up
from streams.notify.channels import Letter, Ports, payload, send
from streams.notify.delivery import Delivery, encode, facts_of
from streams.notify.retry import Answer
from streams.notify.web import Web
from tests.support.notifying import alert
from tests.support.sinks import OK, MailSink, Seen, Sink, certificate, http_sink, listening, smtp_sink, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjMs"  # made up
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # made up
SLACK_OK = status(200, b'{"ok": true, "channel": "C1", "ts": "17.1"}')
VERIFY = ssl.create_default_context()  # reading what the system trusts takes a while, so once
HTTP_KINDS = ("slack_webhook", "slack_bot", "webhook", "pagerduty", "alertmanager", "teams")


def now_ms() -> int:
    return int(time.time() * 1000)


def letter(told: str | None = None, **other: Any) -> Letter:
    record = alert(**other)
    one = Delivery(
        delivery_id="d" * 32, alert_id=record["alert_id"], revision=record["revision"], endpoint="e", route="r", group="g",
        partition=0, offset=0, status="sending", at=now_ms(), queued_at=now_ms(), facts=facts_of(record),
    )  # fmt: skip
    return Letter(one, record, told=told)


def endpoint(kind: str, url: str, monkeypatch: pytest.MonkeyPatch, **other: object) -> Endpoint:
    """An endpoint of a kind whose secrets are in the environment, as they would be."""
    monkeypatch.setenv("THE_URL", url)
    monkeypatch.setenv("THE_SECRET", SECRET)
    keys: dict[str, object] = {
        "slack_webhook": {"url": "env:THE_URL"},
        "slack_bot": {"url": "env:THE_URL", "secrets": "env:THE_SECRET", "channel": "C1"},
        "webhook": {"url": "env:THE_URL", "secrets": ["env:THE_SECRET"]},
        "pagerduty": {"url": "env:THE_URL", "secrets": "env:THE_SECRET"},
        "alertmanager": {"url": "env:THE_URL", "secrets": "env:THE_SECRET"},
        "teams": {"url": "env:THE_URL"},
    }[kind]  # type: ignore[assignment]
    return Endpoint.model_validate({"id": "e", "kind": kind, **keys, **other})


def ports(verify: ssl.SSLContext | None = None, seconds: float = 25.0, private: bool = True) -> Ports:

    async def publish(topic: str, key: bytes, value: bytes) -> int | None:
        return 7

    return Ports(Web(private, now_ms, look_up, verify or VERIFY, seconds), publish)


async def once(kind: str, sink: Sink, monkeypatch: pytest.MonkeyPatch, way: Ports | None = None) -> Answer:
    return await send(
        endpoint(kind, sink.url("/hook/with-a-secret-in-it"), monkeypatch), [letter()], way or ports(), now_ms()
    )


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_what_is_taken_is_sent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink(SLACK_OK if kind == "slack_bot" else OK) as sink:
        answer = await once(kind, sink, monkeypatch)

    assert answer.taken, answer
    [seen] = sink.seen
    assert seen.headers["host"] == f"127.0.0.1:{sink.port}"
    whole = json.dumps(seen.json, ensure_ascii=False)
    for said in (
        "team-day",
        "41.5",
        "50",
        "83.0",
        "platform",
        "cfo@acme.example",
        "gpt-5.2",
        "/v1/alerts/a1",
        "cost_by_team",
    ):
        assert said in whole.replace("\\\\", "").replace("\\", ""), said


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    ("said", "error", "final"),
    [
        (status(500), "http 500", False),
        (status(503, Retry_After="120"), "http 503", False),
        (status(429, Retry_After="30"), "http 429", False),
        (status(408), "http 408", False),
        (status(425), "http 425", False),
        (status(400), "http 400", True),
        (status(404), "http 404", True),
        (status(410), "http 410", True),
        (status(302, Location="http://127.0.0.1:1/"), "a redirect", False),
        (b"nonsense\r\n\r\n", "ended without an answer", False),
        ("close", "ended without an answer", False),
    ],
    ids=["500", "503", "429", "408", "425", "400", "404", "410", "redirect", "nonsense", "closes"],
)
async def test_what_is_refused_is_judged_by_its_code(
    kind: str, said: bytes | str, error: str, final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_sink(said) as sink:
        answer = await once(kind, sink, monkeypatch)

    assert error in (answer.error or "")
    assert answer.final is final
    assert len(sink.seen) == 1  # no redirect was followed, nothing was tried again here
    assert answer.retry_after == {b"429": 30.0, b"503": 120.0}.get(said[9:12] if isinstance(said, bytes) else b"")


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("how", ["hang", "drip"])
async def test_a_server_that_hangs_or_drips_costs_its_time_and_no_more(
    kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_sink(how) as sink:
        started = time.monotonic()
        answer = await once(kind, sink, monkeypatch, ports(seconds=0.3))

    assert answer.error == "no answer within 0.3 s"
    assert not answer.final
    assert time.monotonic() - started < 3


async def test_of_an_endless_answer_only_the_beginning_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink("flood") as sink:
        answer = await once("webhook", sink, monkeypatch, ports(seconds=5))

    assert answer.taken


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_a_certificate_that_nobody_issued_or_of_another_name_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, trusting = certificate("hooks.acme.example")

    async def there(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with http_sink(SLACK_OK, tls=server) as sink:
        stranger = await once(kind, sink, monkeypatch)
        wrong_name = await once(kind, sink, monkeypatch, ports(trusting))
        way = Ports(Web(True, now_ms, there, trusting), ports().publish)
        right = await send(endpoint(kind, sink.url("/", "hooks.acme.example"), monkeypatch), [letter()], way, now_ms())

    assert (stranger.error or "").startswith("tls: the certificate is not accepted")
    assert (wrong_name.error or "").startswith("tls: the certificate is not accepted")
    assert right.taken, right  # pinned to the address, verified by the name
    assert [seen.headers["host"] for seen in sink.seen] == [f"hooks.acme.example:{sink.port}"]


async def test_a_server_that_speaks_no_tls_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink() as sink:
        sink.tls = True
        answer = await once("teams", sink, monkeypatch)

    assert (answer.error or "").startswith("tls: ")


async def test_nobody_there_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink() as sink:
        port = sink.port
    answer = await send(endpoint("teams", f"http://127.0.0.1:{port}/x", monkeypatch), [letter()], ports(), now_ms())

    assert answer.error == "connection refused"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
async def test_targets_inside_are_refused_unless_allowed(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink() as sink:
        answer = await send(
            endpoint("webhook", f"http://{host}:{sink.port}/", monkeypatch), [letter()], ports(private=False), now_ms()
        )

    assert "USAGE_STREAMS_NOTIFY_PRIVATE" in (answer.error or "") or "has no address" in (answer.error or "")
    assert sink.connections == 0


async def test_a_name_that_changes_its_address_is_reached_at_the_one_that_was_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[str]()

    async def rebinds(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) > 1 else ["127.0.0.1"]

    async with http_sink() as sink:
        way = Ports(Web(True, now_ms, rebinds, VERIFY), ports().publish)
        answer = await send(
            endpoint("webhook", f"http://rebind.example:{sink.port}/", monkeypatch), [letter()], way, now_ms()
        )

    assert answer.taken
    assert asked == ["rebind.example"]


async def test_a_name_with_one_address_inside_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.7"]

    way = Ports(Web(False, now_ms, both, VERIFY), ports().publish)
    answer = await send(endpoint("webhook", "https://two.example/", monkeypatch), [letter()], way, now_ms())

    assert "10.0.0.7, inside the network" in (answer.error or "")


@pytest.mark.parametrize("kind", [k for k in HTTP_KINDS if k != "webhook"])
async def test_a_secret_never_travels_in_the_clear_outside(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def outside(host: str, port: int) -> list[str]:
        return ["93.184.216.34"]

    way = Ports(Web(False, now_ms, outside, VERIFY), ports().publish)
    answer = await send(endpoint(kind, "http://outside.example/", monkeypatch), [letter()], way, now_ms())

    assert "use https" in (answer.error or "")


async def test_a_webhook_is_signed_for_each_secret_and_keeps_its_id_and_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_SECRET", OTHER)
    async with http_sink() as sink:
        one = endpoint("webhook", sink.url(), monkeypatch, secrets=["env:THE_SECRET", "env:NEXT_SECRET"])
        mine = letter()
        await send(one, [mine], ports(), now_ms())
        await send(one, [mine], ports(), now_ms() + 60_000)

    first, second = sink.seen
    for secret in (SECRET, OTHER):
        for seen in sink.seen:
            said = Webhook(secret).verify(seen.body, seen.headers)
            assert said["type"] == "budget.threshold.crossed"
            assert datetime.fromisoformat(said["timestamp"]).tzinfo is not None
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == mine.delivery.delivery_id
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.body == second.body


@pytest.mark.parametrize(
    ("said", "error", "final"),
    [
        (b'{"ok": false, "error": "channel_not_found"}', "slack: channel_not_found", True),
        (b'{"ok": false, "error": "ratelimited"}', "slack: ratelimited", False),
        (b'{"ok": false, "error": "xoxb-1234 is wrong"}', "slack: unknown_error", True),
        (b"[]", "slack: an answer that is none of its API", False),
        (b'{"ok": true}', "slack: an answer that is none of its API", False),
    ],
)
async def test_slack_says_in_the_body_what_it_refuses(
    said: bytes, error: str, final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_sink(status(200, said)) as sink:
        answer = await once("slack_bot", sink, monkeypatch)

    assert (answer.error, answer.final) == (error, final)


async def test_a_slack_message_is_changed_in_place_or_said_anew_when_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(seen: Seen) -> bytes:
        return status(200, b'{"ok": false, "error": "message_not_found"}') if "update" in seen.path else SLACK_OK

    async with http_sink(SLACK_OK) as sink, http_sink(lost) as forgetful:
        one = endpoint("slack_bot", sink.url("/api"), monkeypatch)
        opened = await send(one, [letter()], ports(), now_ms())
        over = await send(one, [letter(revision=2, state="resolved", told=opened.reference)], ports(), now_ms())
        again = await send(one, [letter(revision=3, reason="reminder", told=opened.reference)], ports(), now_ms())
        other = endpoint("slack_bot", forgetful.url("/api"), monkeypatch)
        anew = await send(other, [letter(revision=2, state="resolved", told="C1/1.1")], ports(), now_ms())

    assert opened.reference == over.reference == again.reference == "C1/17.1"
    assert [seen.path for seen in sink.seen] == ["/api/chat.postMessage", "/api/chat.update", "/api/chat.postMessage"]
    assert (sink.seen[1].json["channel"], sink.seen[1].json["ts"]) == ("C1", "17.1")
    assert sink.seen[2].json["thread_ts"] == "17.1"
    assert sink.seen[0].headers["authorization"] == f"Bearer {SECRET}"
    assert [seen.path for seen in forgetful.seen] == ["/api/chat.update", "/api/chat.postMessage"]
    assert anew.taken


async def test_pagerduty_and_alertmanager_get_what_makes_a_repeat_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink(status(202, b"{}")) as sink:
        one = endpoint("pagerduty", sink.url(), monkeypatch)
        records: list[dict[str, Any]] = [
            {},
            {"revision": 2, "state": "acknowledged"},
            {"revision": 3, "state": "resolved"},
        ]
        for record in records:
            assert (await send(one, [letter(**record)], ports(), now_ms())).taken
        manager = endpoint("alertmanager", sink.url(), monkeypatch)
        await send(manager, [letter(), letter(revision=2, state="resolved")], ports(), now_ms())

    events = [seen.json for seen in sink.seen[:3]]
    assert [e["event_action"] for e in events] == ["trigger", "acknowledge", "resolve"]
    assert {e["dedup_key"] for e in events} == {"a1"}
    assert {e["routing_key"] for e in events} == {SECRET}
    assert sink.seen[3].path == "/api/v2/alerts"
    [firing, over] = sink.seen[3].json
    assert firing["labels"] == over["labels"]
    assert firing["startsAt"] < datetime.now(UTC).isoformat() < firing["endsAt"]
    assert over["endsAt"] <= datetime.now(UTC).isoformat()


@pytest.mark.parametrize("value", ["", "not-base64!", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"])
async def test_a_signing_secret_that_is_none_is_said_without_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink() as sink:
        one = endpoint("webhook", sink.url(), monkeypatch)
        monkeypatch.setenv("THE_SECRET", value)
        answer = await send(one, [letter()], ports(), now_ms())

    assert not answer.taken
    assert not value or value not in (answer.error or "")
    assert sink.seen == []


def mail_endpoint(sink: MailSink, **other: object) -> Endpoint:
    keys = {
        "server": f"127.0.0.1:{sink.port}",
        "tls": "none",
        "sender": "usage@acme.example",
        "to": ["finance@acme.example"],
    }
    return Endpoint.model_validate({"id": "e", "kind": "email", **keys, **other})


async def test_a_mail_arrives_whole_and_what_is_over_answers_it() -> None:
    async with smtp_sink() as sink:
        one = mail_endpoint(sink)
        assert (await send(one, [letter()], ports(), now_ms())).taken
        assert (await send(one, [letter(revision=2, state="resolved")], ports(), now_ms())).taken

    opened, over = (message_from_bytes(e.content, policy=default) for e in sink.mails)
    assert opened["Subject"].startswith("warning: team-day, acme: team=a1, 83.0 % of 50 USD")
    text = opened.get_content()
    for said in (
        "41.5 USD",
        "50 USD",
        "83.0 %",
        "platform",
        "cfo@acme.example",
        "gpt-5.2: 30.25 USD, 73 %",
        "cost_by_team",
    ):
        assert said in text, text
    assert over["In-Reply-To"] == opened["Message-ID"] != over["Message-ID"]
    assert sink.mails[0].recipients == ["finance@acme.example"]


@pytest.mark.parametrize("mode", ["starttls", "tls"])
async def test_mail_goes_over_tls_with_a_login_and_a_wrong_certificate_is_refused(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_SECRET", "p4ss: wörd\\")
    server, trusting = certificate("127.0.0.1")
    async with smtp_sink(server, from_the_start=mode == "tls", login=True) as sink:
        one = mail_endpoint(sink, tls=mode, user="usage", secrets="env:THE_SECRET")
        stranger = await send(one, [letter()], ports(), now_ms())
        right = await send(one, [letter()], ports(trusting), now_ms())

    assert (stranger.error or "").startswith("tls: the certificate is not accepted")
    assert right.taken, right
    assert sink.logins == ["\0usage\0p4ss: wörd\\".encode()]
    assert len(sink.mails) == 1


@pytest.mark.parametrize(
    ("step", "said", "final"),
    [
        ("RCPT", "550 no such user", True),
        ("RCPT", "451 later", False),
        ("DATA", "554 it is spam", True),
        ("DATA", "452 no space", False),
    ],
)
async def test_what_a_mail_server_refuses_is_judged_by_its_code(step: str, said: str, final: bool) -> None:
    async with smtp_sink() as sink:
        sink.answers[step] = said
        answer = await send(mail_endpoint(sink), [letter()], ports(), now_ms())

    assert answer.code == int(said[:3])
    assert answer.final is final
    assert said[4:] not in (answer.error or "")


async def test_a_mail_server_without_starttls_gets_nothing_when_that_is_asked_for() -> None:
    async with smtp_sink() as sink:
        answer = await send(mail_endpoint(sink, tls="starttls"), [letter()], ports(), now_ms())

    assert answer.final
    assert "STARTTLS" in (answer.error or "")
    assert sink.mails == []


async def test_a_wrong_login_is_final_and_says_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "hunter22")
    async with smtp_sink(login=True) as sink:
        sink.answers["AUTH"] = "535 no: hunter22"
        answer = await send(mail_endpoint(sink, user="usage", secrets="env:THE_SECRET"), [letter()], ports(), now_ms())

    assert (answer.code, answer.final) == (535, True)
    assert "hunter22" not in (answer.error or "")


@pytest.mark.parametrize("addresses", [["203.0.114.7"], ["127.0.0.1", "203.0.114.7"]])
async def test_a_login_is_never_sent_in_clear_to_an_address_outside(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outside(host: str, port: int) -> list[str]:
        return addresses

    monkeypatch.setenv("THE_SECRET", "hunter22")
    async with smtp_sink(login=True) as sink:
        way = Ports(Web(True, now_ms, outside, VERIFY, 0.5), ports().publish)
        one = mail_endpoint(sink, user="usage", secrets="env:THE_SECRET")
        answer = await send(one, [letter()], way, now_ms())

    assert answer.error == "tls is none, which would show a secret on its way; use starttls or tls"
    assert sink.logins == []


@pytest.mark.parametrize("how", ["hangs", "closes", "speaks nonsense"])
async def test_a_mail_server_that_is_none_costs_its_time_and_no_more(how: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == "hangs":
            await reader.read()
        elif how == "speaks nonsense":
            writer.write(b"\x00\xff nonsense\r\n")
            await writer.drain()
        writer.close()

    async with listening(serve) as port:
        answer = await send(mail_endpoint(MailSink(port=port)), [letter()], ports(seconds=0.5), now_ms())

    assert not answer.taken
    assert not answer.final


async def test_mail_servers_inside_are_refused_unless_allowed() -> None:
    async with smtp_sink() as sink:
        answer = await send(mail_endpoint(sink), [letter()], ports(private=False), now_ms())

    assert "USAGE_STREAMS_NOTIFY_PRIVATE" in (answer.error or "")
    assert sink.mails == []


async def test_a_missing_secret_is_named_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink() as sink:
        one = endpoint("pagerduty", sink.url(), monkeypatch)
        monkeypatch.delenv("THE_SECRET")
        answer = await send(one, [letter()], ports(), now_ms())

    assert (answer.error or "").startswith("env:THE_SECRET: is not set")
    assert not answer.final  # set it, and what is owed goes on
    assert sink.seen == []


async def test_a_topic_gets_the_same_typed_event() -> None:
    told = list[tuple[str, bytes, bytes]]()

    async def publish(topic: str, key: bytes, value: bytes) -> int | None:
        told.append((topic, key, value))
        return 7

    one = Endpoint.model_validate({"id": "e", "kind": "topic"})
    answer = await send(one, [letter()], Ports(ports().web, publish), now_ms())

    [(topic, key, value)] = told
    assert (topic, key, json.loads(value)["type"]) == ("usage.notifications", b"a1", "budget.threshold.crossed")
    assert answer.taken


# The last letters are in no payload, so that a secret in one came from the setting ("threshol" is a piece of every alert).
ODD = (
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\n\r"), min_size=8, max_size=40)
    .filter(lambda text: text == text.strip() and len(set(text)) > 5)
    .map(lambda text: f"{text}Qz7")
)


@pytest.mark.parametrize(
    "kind", ["slack_webhook", "slack_bot", "webhook", "pagerduty", "alertmanager", "teams", "email"]
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=ODD)
def test_no_secret_is_in_an_answer_a_record_or_a_log_even_if_the_other_side_repeats_it(
    kind: str,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    capsys.readouterr()

    def echoes(seen: Seen) -> bytes:
        said = json.dumps({"ok": False, "error": secret}).encode() + seen.body
        return b"HTTP/1.1 403 " + quote(secret).encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(said) + said

    async def story() -> tuple[Answer, list[bytes]]:
        async with http_sink(echoes) as sink, smtp_sink(login=True) as mails:
            mails.answers["AUTH"] = f"535 {secret}"
            monkeypatch.setenv("THE_SECRET", secret)
            if kind == "email":
                one = mail_endpoint(mails, user="usage", secrets="env:THE_SECRET")
            else:
                one = endpoint(
                    kind, sink.url(f"/{quote(secret)}" if kind in ("slack_webhook", "teams") else "/"), monkeypatch
                )
                monkeypatch.setenv("THE_SECRET", secret)
            shown = payload(one, [letter()], "", now_ms())
            answer = await send(one, [letter()], ports(), now_ms())
            record = letter().delivery.now(
                1, status="failed", code=answer.code, error=answer.error, answer=answer.reference
            )
            return answer, [json.dumps(shown, ensure_ascii=False).encode(), encode(record)]

    answer, texts = asyncio.run(story())

    captured = capsys.readouterr()
    logged = "".join(f"{r.getMessage()} {r.args}" for r in caplog.records) + captured.out + captured.err
    assert not answer.taken
    for form in {secret, quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}:
        assert form not in logged
        assert form not in (answer.error or "")
        assert not [text for text in texts if form.encode() in text]


def test_the_client_logs_nothing_even_when_everything_else_does(caplog: pytest.LogCaptureFixture) -> None:
    assert {logging.getLogger(name).getEffectiveLevel() for name in ("httpx2", "httpcore2.http11")} == {
        logging.CRITICAL
    }
