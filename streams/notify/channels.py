"""The channels: what each is like, and how letters become payloads and payloads are sent. Rendering is pure, `send` is not."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from typing import Any, NamedTuple

from streams.catalog.routes import Endpoint
from streams.notify import alertmanager, mail, pagerduty, slack, teams, webhook
from streams.notify.delivery import Delivery
from streams.notify.digest import digest_notice
from streams.notify.instants import ms_of
from streams.notify.notice import Notice, notice_of
from streams.notify.references import SecretMissing, redact, resolve
from streams.notify.retry import Answer
from streams.notify.smtp import Server, hand_over
from streams.notify.web import Reply, Web
from streams.watch.alert_records import typed

SLACK_API = "https://slack.com/api"
NOTIFICATIONS = "usage.notifications"
SLACK_AGAIN = {
    "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
    "team_added_to_org", "message_limit_exceeded", "accesslimited",
}  # fmt: skip
SLACK_LOST = {"message_not_found", "cant_update_message", "edit_window_closed"}  # cannot be changed: say it anew
SLACK_WORD = re.compile(r"[a-z_]{1,40}")  # what an error of theirs looks like; anything else is not repeated


class Traits(NamedTuple):
    """What a kind of endpoint is like.

    grouped: several alerts in one message; acks: an acknowledgement is news there; every: machines, which want each revision
    pace_ms: between two posts; at_once: posts at the same time
    """

    grouped: bool
    acks: bool
    every: bool
    pace_ms: int
    at_once: int


TRAITS = {
    "slack_webhook": Traits(True, False, False, 1_000, 1),  # one message a second and channel
    "slack_bot": Traits(True, True, False, 1_000, 1),
    "webhook": Traits(False, True, True, 0, 4),
    "pagerduty": Traits(False, True, False, 500, 2),  # 120 calls a minute and key
    "alertmanager": Traits(True, False, False, 0, 1),
    "teams": Traits(True, False, False, 300, 1),  # four requests a second
    "email": Traits(True, False, False, 0, 2),
    "topic": Traits(False, True, True, 0, 4),
}


@dataclass(frozen=True)
class Letter:
    """A delivery with what it is about. record: of usage.alerts; None for a digest. told: what the message is called there."""

    delivery: Delivery
    record: Mapping[str, Any] | None
    hand_off: str = ""
    told: str | None = None

    def notice(self, public_url: str) -> Notice:
        if self.record is None:
            return digest_notice(self.delivery.delivery_id, self.delivery.body or {}, public_url)
        return notice_of(self.record, public_url, self.hand_off)


@dataclass(frozen=True)
class Ports:
    """What sending needs: the way out, and a topic of the broker (None = it is away)."""

    web: Web
    publish: Callable[[str, bytes, bytes], Awaitable[int | None]]
    public_url: str = ""


def payload(endpoint: Endpoint, letters: Sequence[Letter], public_url: str, now: int) -> Any:
    """What would be sent, without secrets: JSON, or for mail its text. Pure."""
    notices, first = [one.notice(public_url) for one in letters], letters[0]
    match endpoint.kind:
        case "slack_webhook":
            return slack.message(notices)
        case "slack_bot":
            return {"channel": endpoint.channel, **slack.message(notices)}
        case "teams":
            return teams.message(notices)
        case "pagerduty":
            return pagerduty.event(notices[0], first.record or {}, first.hand_off)
        case "alertmanager":
            return alertmanager.alerts(notices, [one.record or {} for one in letters], now)
        case "email":
            return mail_of(endpoint, letters, notices).as_string()
    return json.loads(event_of(first))


def event_of(letter: Letter) -> bytes:
    """The typed event that webhooks and topics carry."""
    one = letter.delivery
    data: Mapping[str, Any] = letter.record if letter.record is not None else (one.body or {})
    extra = {"hand_off": letter.hand_off} if letter.hand_off else {}
    if data.get("query"):
        extra["query"] = typed(str(data["query"]), one.alert_id)
    kind = webhook.type_of(data) if letter.record is not None else webhook.DIGEST_TYPE
    at = ms_of(data.get("detected_at")) or one.queued_at  # asked for again, the same id has the same body
    return webhook.body(kind, {**data, **extra}, at)


def mail_of(endpoint: Endpoint, letters: Sequence[Letter], notices: Sequence[Notice]) -> EmailMessage:
    """The mail; the first one about an alert alone has an id that later ones answer, until it is over and opens anew."""
    first, record, ids = letters[0].delivery, letters[0].record, [one.delivery.delivery_id for one in letters]
    since = (
        ms_of(record.get("since")) if record is not None else None
    )  # when it crossed: every revision of this time says so
    opener = f"{first.alert_id}.{since or 0}.{endpoint.id}" if len(letters) == 1 and record is not None else None
    opens = first.state == "firing" and first.facts.get("reason") in (None, "crossed", "pending_over")
    name = opener if opener and opens else hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]
    opened = None if opens else opener
    return mail.message(notices, endpoint.sender, endpoint.to, name, opened, first.queued_at)


async def send(endpoint: Endpoint, letters: Sequence[Letter], ports: Ports, now: int) -> Answer:
    """One attempt. Never raises for what is outside; nothing in the answer holds a secret."""
    try:
        secrets = [resolve(reference) for reference in endpoint.secrets]
        url = resolve(endpoint.url)
    except SecretMissing as error:
        return Answer(None, str(error))
    hidden = [*secrets, *([url] if url != endpoint.url else [])]
    try:
        answer = await _sent(endpoint, letters, ports, now, url, secrets)
    except webhook.BadSecret as error:
        return Answer(None, str(error))
    return replace(
        answer,
        error=redact(answer.error, hidden) if answer.error else None,
        reference=redact(answer.reference, hidden) if answer.reference else None,
    )


async def _sent(
    endpoint: Endpoint, letters: Sequence[Letter], ports: Ports, now: int, url: str, secrets: Sequence[str]
) -> Answer:
    web, first = ports.web, letters[0]
    match endpoint.kind:
        case "slack_bot":
            return await _slack_bot(endpoint, letters, ports, url or SLACK_API, secrets[0])
        case "webhook":
            body = event_of(first)
            headers = webhook.headers(first.delivery.delivery_id, body, secrets, now)
            return (await web.post(url, body, headers, in_clear=True)).answer
        case "topic":
            at = await ports.publish(endpoint.topic or NOTIFICATIONS, first.delivery.alert_id.encode(), event_of(first))
            return Answer(None, "the broker did not take it") if at is None else Answer(None, reference=str(at))
        case "email":
            host, _, port = endpoint.server.rpartition(":")
            server = Server(host.strip("[]"), int(port), endpoint.tls, endpoint.user, secrets[0] if secrets else "")
            notices = [one.notice(ports.public_url) for one in letters]
            return await hand_over(web, server, mail_of(endpoint, letters, notices))
    found = payload(endpoint, letters, ports.public_url, now)
    match endpoint.kind:
        case "pagerduty":
            reply = await web.post(url or pagerduty.URL, _json({"routing_key": secrets[0], **found}), {})
        case "alertmanager":
            bearer = {"authorization": f"Bearer {secrets[0]}"} if secrets else {}
            reply = await web.post(f"{url.rstrip('/')}{alertmanager.PATH}", _json(found), bearer, in_clear=not secrets)
        case _:
            reply = await web.post(url, _json(found), {})
            if not reply.answer.taken and SLACK_WORD.fullmatch(word := reply.body.decode("ascii", "ignore").strip()):
                return replace(reply.answer, error=f"{reply.answer.error}: {word}")
    return reply.answer


async def _slack_bot(endpoint: Endpoint, letters: Sequence[Letter], ports: Ports, base: str, token: str) -> Answer:
    """A new message; what is acknowledged or over changes the one that told it, a reminder goes into its thread."""
    found = payload(endpoint, letters, ports.public_url, 0)
    told = letters[0].told if all(one.told == letters[0].told for one in letters) else None
    place, _, stamp = (told or "").partition("/")
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"}

    async def ask(method: str, body: Mapping[str, Any]) -> Answer:
        reply = await ports.web.post(f"{base.rstrip('/')}/{method}", _json(body), headers)
        return slack_answer(reply)

    if stamp and letters[0].delivery.state in ("acknowledged", "resolved"):
        answer = await ask("chat.update", {**found, "channel": place, "ts": stamp})
        if (answer.error or "").rpartition(" ")[2] not in SLACK_LOST:
            return replace(answer, reference=told)
        return await ask("chat.postMessage", found)
    if stamp:
        answer = await ask("chat.postMessage", {**found, "channel": place, "thread_ts": stamp, "reply_broadcast": True})
        return replace(answer, reference=told)
    return await ask("chat.postMessage", found)


def slack_answer(reply: Reply) -> Answer:
    """Slack answers 200 to what it refuses, and says so in the body."""
    if not reply.answer.taken:
        return reply.answer
    try:
        said = json.loads(reply.body)
        if said.get("ok") is True:
            return replace(reply.answer, reference=f"{said['channel']}/{said['ts']}")
        word = str(said.get("error"))
    except (ValueError, AttributeError, KeyError, TypeError):
        return Answer(reply.answer.code, "slack: an answer that is none of its API")
    known = word if SLACK_WORD.fullmatch(word) else "unknown_error"
    return Answer(reply.answer.code, f"slack: {known}", final=known not in SLACK_AGAIN)


def _json(found: Any) -> bytes:
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
