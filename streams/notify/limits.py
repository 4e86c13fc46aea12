"""What the other side takes, as data with its source; renderers keep to it and tests hold every payload against it."""

from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """At most so many of a unit in one place of a message."""

    most: int
    unit: Literal["characters", "bytes", "items"]
    source: str


BLOCKS = "docs.slack.dev/reference/block-kit/blocks, slack_sdk.models.blocks"
SLACK_BLOCKS = Limit(50, "items", BLOCKS)
SLACK_SECTION = Limit(3_000, "characters", BLOCKS)
SLACK_FIELD = Limit(2_000, "characters", BLOCKS)
SLACK_FIELDS = Limit(10, "items", BLOCKS)
SLACK_HEADER = Limit(150, "characters", BLOCKS)
SLACK_CONTEXT = Limit(10, "items", BLOCKS)
SLACK_BLOCK_ID = Limit(255, "characters", BLOCKS)
SLACK_TEXT = Limit(4_000, "characters", "docs.slack.dev/reference/methods/chat.postMessage: text is best below 4,000")
SLACK_ALL = Limit(13_200, "characters", "slackapi/bolt-js#2509: msg_blocks_too_long above about 13,200, undocumented")

PD = "PagerDuty Events API v2, send an alert event"
PAGERDUTY_SUMMARY = Limit(1_024, "characters", PD)
PAGERDUTY_DEDUP_KEY = Limit(255, "characters", PD)
PAGERDUTY_BODY = Limit(512 * 1024, "bytes", PD)

WEBHOOK_BODY = Limit(20_000, "bytes", "Standard Webhooks 1.0.0, payload size: smaller than 20 kB")
WEBHOOK_SECRET_LEAST = Limit(24, "bytes", "Standard Webhooks 1.0.0, signature scheme: 24 to 64 random bytes")
WEBHOOK_SECRET = Limit(64, "bytes", "Standard Webhooks 1.0.0, signature scheme: 24 to 64 random bytes")

TEAMS_BODY = Limit(28_000, "bytes", "learn.microsoft.com, Teams connector and webhooks: message size limit 28 KB")

LABEL_NAME = (
    r"[a-zA-Z_][a-zA-Z0-9_]*"  # of Alertmanager's classic label names (api/v2, prometheus/common model.LabelName)
)
ALERTMANAGER_LABEL = Limit(1_024, "characters", "own: Alertmanager names none, and labels are an identity, not a text")

MAIL_LINE = Limit(998, "characters", "RFC 5322 section 2.1.1")
MAIL_SUBJECT = Limit(200, "characters", "own: what a mail program shows; RFC 5322 allows folding")
