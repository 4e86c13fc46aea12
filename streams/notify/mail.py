"""E-mail: one plain-text message for one or several alerts; what is over answers the message that opened it. Pure."""

import textwrap
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime

from streams.notify import limits
from streams.notify.instants import utc
from streams.notify.notice import Notice, clip, headline

PRIORITY = {"critical": ("1", "high"), "warning": ("3", "normal"), "info": ("5", "low")}


def message(
    notices: Sequence[Notice], sender: str, to: Sequence[str], message_id: str, opened: str | None, at: int
) -> EmailMessage:
    """Headers hold no line break whatever a name holds; lines of the body are short.

    message_id: of this message, the same at every attempt; opened: of the one that it answers; at: ms
    """
    domain = sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Subject"] = clip(headline(notices), limits.MAIL_SUBJECT.most)
    mail["Date"] = format_datetime(utc(at))
    mail["Message-ID"] = f"<{message_id}@{domain}>"
    if opened:
        mail["In-Reply-To"] = mail["References"] = f"<{opened}@{domain}>"
    priority, importance = PRIORITY.get(notices[0].severity, PRIORITY["warning"])
    mail["X-Priority"], mail["Importance"] = priority, importance
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday answers
    mail.set_content("\n\n".join(_text(n) for n in notices), cte="quoted-printable")
    return mail


def _text(notice: Notice) -> str:
    lines = [_wrapped(notice.title), "=" * min(len(notice.title), 72)]
    if notice.summary:
        lines += [_wrapped(notice.summary), ""]
    wide = max((len(name) for name, _ in notice.facts), default=0)
    lines += [_wrapped(f"{name + ':':<{wide + 2}}{value}", wide + 2) for name, value in notice.facts]
    for heading, items in notice.sections:
        lines += ["", f"{heading}:", *(_wrapped(f"- {item}", 2) for item in items)]
    if notice.command:
        lines += ["", "To see it:", textwrap.indent(notice.command, "  ")]
    if notice.runbook:
        lines += ["", f"Runbook: {notice.runbook}"]
    if notice.link:
        lines += ["", notice.link]
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> str:
    return textwrap.fill(text, 100, subsequent_indent=" " * indent, break_long_words=True, break_on_hyphens=False)
