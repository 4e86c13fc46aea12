"""Slack: the blocks of a message within Block Kit's limits, for incoming webhooks and for a bot. Pure.

slack_sdk gives the blocks, which know their own limits; we send them ourselves, so that timeouts, addresses and answers are
handled in one place for every channel.
"""

from collections.abc import Sequence
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    DividerBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from streams.notify import limits
from streams.notify.notice import Notice, clip, headline

ICONS = {"info": "🔵", "warning": "⚠️", "critical": "🔴"}
DONE = {"resolved": "✅", "acknowledged": "👀"}
FIELD, SUMMARY, COMMAND, LINE = 240, 600, 900, 240  # characters, so that one alert has about 5,000
MOST_LINES = 30


def escape(text: str) -> str:
    """What means something in mrkdwn: no mention, no link, no channel-wide call can be smuggled in by a name."""
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, safe)
    return text


def _code(text: str) -> str:
    # No sign that means something where it is pasted.
    return escape(text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}"))


def message(notices: Sequence[Notice]) -> dict[str, Any]:
    """`text` (what a notification shows) and `blocks`; of many alerts some in full, others in a line, the rest as a number."""
    text = clip(f"{_icon(notices[0])} {headline(notices)}", limits.SLACK_TEXT.most - 1_000, escape)
    for full in (4, 3, 2, 1, 0):
        blocks = _blocks(notices, full)
        rendered = [block.to_dict() for block in blocks]  # raises when one breaks a limit: a bug, not a message
        if len(blocks) <= limits.SLACK_BLOCKS.most and size_of(rendered) <= limits.SLACK_ALL.most:
            break
    return {"text": text, "blocks": rendered, "unfurl_links": False}


def size_of(blocks: Sequence[dict[str, Any]]) -> int:
    """Characters of everything that is shown."""
    return sum(
        len(part.get("text", ""))
        for block in blocks
        for part in (block.get("text") or {}, *block.get("fields", ()), *block.get("elements", ()))
    )


def _icon(notice: Notice) -> str:
    return DONE.get(notice.state) or ICONS.get(notice.severity, "⚠️")


def _blocks(notices: Sequence[Notice], full: int) -> list[Block]:
    blocks = list[Block]()
    if len(notices) > 1:
        blocks.append(HeaderBlock(text=PlainTextObject(text=clip(headline(notices), limits.SLACK_HEADER.most))))
    for notice in notices[:full]:
        blocks += _of(notice, len(notices) == 1)
    rest = notices[full:]
    lines = [f"{_icon(n)} {clip(n.title, LINE, escape)}" for n in rest[:MOST_LINES]]
    if len(rest) > MOST_LINES:
        lines.append(f"and {len(rest) - MOST_LINES} more")
    for i in range(0, len(lines), 10):
        blocks.append(SectionBlock(text=MarkdownTextObject(text="\n".join(lines[i : i + 10]), verbatim=True)))
    return blocks


def _of(notice: Notice, alone: bool) -> list[Block]:
    title = clip(f"{_icon(notice)} {notice.title}", limits.SLACK_HEADER.most)
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=title))] if alone else [DividerBlock()]
    lead = [] if alone else [f"*{clip(f'{_icon(notice)} {notice.title}', LINE, escape)}*"]
    if notice.summary:
        lead.append(clip(notice.summary, SUMMARY, escape))
    if lead:
        blocks.append(SectionBlock(text=MarkdownTextObject(text="\n".join(lead), verbatim=True)))
    facts = [
        MarkdownTextObject(text=f"*{name}*\n{clip(value, FIELD, escape)}", verbatim=True)
        for name, value in notice.facts
    ]
    most = limits.SLACK_FIELDS.most
    blocks += [SectionBlock(fields=facts[i : i + most]) for i in range(0, len(facts), most)]
    for heading, lines in notice.sections:
        shown = [f"• {clip(line, LINE, escape)}" for line in lines]
        text = _within(f"*{clip(heading, LINE, escape)}*", shown, limits.SLACK_SECTION.most)
        blocks.append(SectionBlock(text=MarkdownTextObject(text=text, verbatim=True)))
    if notice.command:
        text = f"`{clip(notice.command, COMMAND, _code)}`"
        blocks.append(SectionBlock(text=MarkdownTextObject(text=text, verbatim=True)))
    foot = [_link(notice.link, "open") if notice.is_link else clip(notice.link, LINE, escape)]
    if notice.runbook:
        foot.append(f"runbook: {clip(notice.runbook, LINE * 2, escape)}")
    blocks.append(ContextBlock(elements=[MarkdownTextObject(text=text, verbatim=True) for text in foot if text]))
    return blocks


def _within(heading: str, lines: Sequence[str], most: int) -> str:
    text = heading
    for n, line in enumerate(lines):
        if len(text) + len(line) + 20 > most:
            return f"{text}\nand {len(lines) - n} more"
        text = f"{text}\n{line}"
    return text


def _link(address: str, name: str) -> str:
    return f"<{escape(address).replace('|', '%7C')}|{name}>"
