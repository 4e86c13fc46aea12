"""Who made a request of a trace, and with which model: a fixed rule, since the traces do not say.

`crc32("TRACE/NUMBER")`, or of a conversation where the trace knows one, is cut into hundredths: the lowest decide the team,
the next the model, the rest the user. A conversation is one run of an agent; without conversations the requests of a user
within the same five minutes are. One model in ten of the first trace is a house model that has no price anywhere, so that the
demo shows usage without a price.
"""

import zlib
from typing import NamedTuple

Shares = tuple[tuple[int, str], ...]  # upper bound in hundredths, name
TEAMS: Shares = ((45, "support"), (75, "search"), (90, "coding"), (100, "research"))
MODELS: dict[str, Shares] = {
    "azure": ((55, "openai/gpt-5-mini"), (90, "openai/gpt-5.2"), (100, "internal/house-7b")),
    "mooncake": ((70, "anthropic/claude-haiku-4-5"), (100, "anthropic/claude-sonnet-4-5")),
}
UNPRICED = "internal/house-7b"
USERS = 200
RUN_MS = 300_000


class Assigned(NamedTuple):
    """Attribution of one request."""

    team: str
    provider: str
    model: str
    user: str
    run: str


def _pick(shares: Shares, hundredth: int) -> str:
    return next(name for bound, name in shares if hundredth < bound)


def assign(trace: str, who: str, at_ms: int) -> Assigned:
    """`who`: the number of the request, or its conversation; `at_ms`: since the trace began."""
    h = zlib.crc32(f"{trace}/{who}".encode())
    provider, model = _pick(MODELS[trace], h // 100 % 100).split("/")
    user = f"user-{h // 10_000 % USERS}"
    run = f"{trace}-{who}" if trace == "mooncake" else f"{user}-{at_ms // RUN_MS}"
    return Assigned(_pick(TEAMS, h % 100), provider, model, user, run)
