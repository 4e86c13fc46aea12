"""Webhooks of your own, as Standard Webhooks 1.0 has them: a typed body, an id for ever, a signature for each secret. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from standardwebhooks import Webhook

from streams.notify import limits
from streams.notify.instants import rfc3339, utc

SUBJECTS = {
    "budget": "budget.threshold",
    "burn_rate": "budget.burn_rate",
    "run": "run.limit",
    "unpriced": "usage.unpriced",
    "context": "usage.context",
    "policy": "usage.policy",
    "low_usage": "usage.low",
    "exception_overdue": "exception.overdue",
    "catalog_age": "catalog.age",
    "price_change": "catalog.price_change",
}
VERBS = {"acknowledged": "acknowledged", "resolved": "resolved"}
REASONS = {"reminder": "reminded", "escalated": "escalated"}
IDENTITY = (
    "alert_id", "revision", "state", "kind", "tenant_id", "budget_id", "severity", "threshold", "value", "limit", "percent",
    "unit", "owner", "link",
)  # fmt: skip
DIGEST_TYPE = "digest.weekly"
PREFIX = "whsec_"


class BadSecret(ValueError):
    """A signing secret that is none; the message does not hold it."""


def type_of(record: Mapping[str, Any]) -> str:
    """`budget.threshold.crossed`, `run.limit.resolved`, ..."""
    subject = SUBJECTS.get(str(record.get("kind")), "usage.alert")
    state, reason = str(record.get("state")), str(record.get("reason"))
    return f"{subject}.{VERBS.get(state) or REASONS.get(reason, 'crossed')}"


def body(kind: str, data: Mapping[str, Any], at: int) -> bytes:
    """`{type, timestamp, data}` below 20 kB; what does not fit loses its causes first, then its long texts.

    at: ms, when the message was made; the same at every attempt, so that the same id has the same body
    """
    for shrink in (_whole, _fewer_causes, _short, _bare):
        found = json.dumps(
            {"type": kind, "timestamp": rfc3339(at), "data": shrink(data)}, separators=(",", ":")
        ).encode()
        if len(found) < limits.WEBHOOK_BODY.most:
            break
    return found


def _whole(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return data


def _fewer_causes(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**data, "contributors": list(data.get("contributors") or ())[:3], "truncated": True}


def _short(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: _cut(v) for k, v in data.items()} | {"truncated": True}


def _cut(value: Any) -> Any:
    match value:
        case str():
            return value[:250]
        case list():
            return [_cut(v) for v in value[:5]]
        case dict():
            return {str(k)[:100]: _cut(v) for k, v in list(value.items())[:12]}
    return value


def _bare(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: str(data[k])[:200] for k in IDENTITY if data.get(k) is not None} | {"truncated": True}


def headers(message_id: str, body: bytes, secrets: Sequence[str], at: int) -> dict[str, str]:
    """The three headers of an attempt; one signature for each secret, so that either side may change it first.

    at: ms of this attempt. BadSecret when a secret is not `whsec_` and the base64 of 24 to 64 bytes.
    """
    moment = utc(at)
    text = body.decode()
    signatures = [Webhook(checked(secret)).sign(message_id, moment, text) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at // 1000),
        "webhook-signature": " ".join(signatures),
    }


def checked(secret: str) -> str:
    """The secret itself. The library would decode anything, even to nothing, so that a typo would sign with half a key."""
    bare = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSecret("the signing secret is no base64; write whsec_ and the base64 of 24 to 64 bytes") from error
    if not secret.startswith(PREFIX) or not limits.WEBHOOK_SECRET_LEAST.most <= len(key) <= limits.WEBHOOK_SECRET.most:
        raise BadSecret("the signing secret is not whsec_ and the base64 of 24 to 64 bytes; make a new one")
    return secret
