"""When to try again, and when not: pure, with the clock and the jitter given.

Decision: no tenacity here. It keeps a retry in a coroutine, ours must survive the process: each failure is a record with the
moment of the next attempt. The schedule is that of Standard Webhooks 1.0, as moments after the first attempt: a day in all.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
SCHEDULE = (
    0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
)  # fmt: skip
JITTER = 0.1  # of the pause before an attempt, at most, added
WORTH_AGAIN = (408, 425, 429)  # of 4xx: the same bytes may be taken later
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt.

    code:     HTTP status or SMTP reply; None when nobody answered
    error:    in words, without a secret; None when it was taken
    retry_after: seconds that the other side asks us to wait
    reference: what it calls the message
    final:    asking again is useless, whatever the code says
    """

    code: int | None
    error: str | None = None
    retry_after: float | None = None
    reference: str | None = None
    final: bool = False

    @property
    def taken(self) -> bool:
        return self.error is None

    @property
    def throttled(self) -> bool:
        return self.code == 429 or self.retry_after is not None

    @property
    def sick(self) -> bool:
        """The endpoint itself is in trouble, so that others are better not sent there either for a while."""
        return not self.taken and not self.final and not self.throttled


def is_final(code: int) -> bool:
    """Of an HTTP status: the same bytes will never be taken. A redirect may be mended by its owner, so it is none."""
    return 400 <= code < 500 and code not in WORTH_AGAIN


def next_attempt(first: int, attempt: int, now: int, jitter: float, retry_after: float | None = None) -> int | None:
    """When to try again after `attempt` failures; None when the day since `first` is over or would be.

    first: when the first attempt was due; jitter: 0 to 1, drawn by the caller, makes it earlier by up to a tenth of the pause
    """
    last = first + SCHEDULE[-1]
    if attempt >= len(SCHEDULE) or now >= last:
        return None
    pause = SCHEDULE[attempt] - SCHEDULE[attempt - 1]
    early = 1 - JITTER * jitter
    planned = first + SCHEDULE[attempt - 1] + int(pause * early)
    wanted = max(planned, now + int(min(pause, 5 * MINUTE) * early))  # late ones do not crowd
    if retry_after is not None:
        wanted = max(wanted, now + int(retry_after * SECOND))
    return min(wanted, last)


def retry_after_of(text: str | None, now: int) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None when it says nothing readable."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text.strip()[:9]), 86_400.0)
    try:
        moment = parsedate_to_datetime(text.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (aware - datetime.fromtimestamp(now / SECOND, UTC)).total_seconds()), 86_400.0)


@dataclass(slots=True)
class Breaker:
    """Of one endpoint: after `most` failures in a row nothing is sent there for a while, then one delivery tries.

    Decision: these lines instead of a library: those that there are read a clock of their own, which no test can turn.
    """

    most: int = 5
    first: int = 30 * SECOND
    longest: int = 10 * MINUTE
    failures: int = 0
    until: int = 0
    probing: bool = False

    def lets(self, now: int) -> bool:
        """Whether something may be sent now; of an open breaker whose time is over, one at a time."""
        return self.failures < self.most or (now >= self.until and not self.probing)

    def sending(self) -> None:
        """Something is on its way."""
        self.probing = self.failures >= self.most

    def saw(self, answer: Answer, now: int) -> None:
        """What came of it; throttled and refused payloads say nothing of its health, but end a probe."""
        self.probing = False
        if not answer.sick:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= self.most:
            self.until = now + min(self.first * 2 ** min(self.failures - self.most, 10), self.longest)

    def state(self, now: int) -> int:
        """0 closed, 1 probing or about to, 2 open."""
        return 0 if self.failures < self.most else 1 if now >= self.until else 2
