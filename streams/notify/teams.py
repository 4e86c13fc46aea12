"""Microsoft Teams: an Adaptive Card for a workflow's webhook, within the size that a message may have. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any

from streams.notify import limits
from streams.notify.notice import Notice, clip, headline

COLOURS = {"critical": "Attention", "warning": "Warning", "info": "Accent"}
MARKDOWN = re.compile(r"([\\`*_\[\]()#+!<>~|-])")
LINE, SUMMARY = 300, 800


def escape(text: str) -> str:
    """What means something in a card's Markdown: no link or image can be smuggled in by a name."""
    return MARKDOWN.sub(r"\\\1", text)


def message(notices: Sequence[Notice]) -> dict[str, Any]:
    """The card; of many alerts as many in full as fit, others in a line, the rest as a number."""
    for full, lines in ((8, 40), (4, 40), (2, 30), (1, 20), (0, 20), (0, 5)):
        found = _message(notices, full, lines)
        if len(json.dumps(found).encode()) <= limits.TEAMS_BODY.most:
            break
    return found


def _message(notices: Sequence[Notice], full: int, lines: int) -> dict[str, Any]:
    body: list[dict[str, Any]] = [_text(headline(notices), LINE, size="Large", weight="Bolder", style="heading")]
    for notice in notices[:full]:
        body += _of(notice, len(notices) == 1)
    rest = notices[full:]
    body += [_text(n.title, LINE, spacing="Small") for n in rest[:lines]]
    if len(rest) > lines:
        body.append(_text(f"and {len(rest) - lines} more", LINE, isSubtle=True))
    actions = [
        {"type": "Action.OpenUrl", "title": clip(n.title if len(notices) > 1 else "Open", 60), "url": n.link}
        for n in notices[:full][:6]
        if n.is_link
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
        **({"actions": actions} if actions else {}),
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _of(notice: Notice, alone: bool) -> list[dict[str, Any]]:
    colour = "Good" if notice.state == "resolved" else COLOURS.get(notice.severity, "Warning")
    found = [] if alone else [_text(notice.title, LINE, weight="Bolder", color=colour, separator=True)]
    if notice.summary:
        found.append(_text(notice.summary, SUMMARY, color=colour))
    facts = [{"title": name, "value": clip(value, LINE, escape)} for name, value in notice.facts]
    found.append({"type": "FactSet", "facts": facts})
    for heading, lines in notice.sections:
        found.append(_text(heading, LINE, weight="Bolder", spacing="Medium"))
        found += [_text(line, LINE, spacing="None") for line in lines[:20]]
        if len(lines) > 20:
            found.append(_text(f"and {len(lines) - 20} more", LINE, isSubtle=True))
    if notice.command:
        found.append(_text(notice.command, SUMMARY, fontType="Monospace", spacing="Medium"))
    if notice.runbook:
        found.append(_text(f"runbook: {notice.runbook}", 2 * LINE, isSubtle=True))
    if notice.link and not notice.is_link:
        found.append(_text(notice.link, LINE, isSubtle=True))
    return found


def _text(text: str, most: int, **style: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": clip(text, most, escape), "wrap": True, **style}
