"""When to try again: the schedule, Retry-After, the breaker."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from streams.notify.retry import HOUR, SCHEDULE, SECOND, Answer, Breaker, is_final, next_attempt, retry_after_of

T = 1_795_000_000_000


def test_attempts_follow_the_schedule_of_standard_webhooks_for_a_day() -> None:
    found, now = [0], T
    while (at := next_attempt(T, len(found), now, 0.0)) is not None:
        found.append(at - T)
        now = at

    assert tuple(found) == SCHEDULE
    assert SCHEDULE[-1] == 24 * HOUR


@given(st.integers(1, 12), st.integers(0, 30 * HOUR), st.floats(0, 1), st.none() | st.floats(0, 100_000))
def test_the_next_attempt_is_later_never_beyond_the_day_and_never_before_what_was_asked(
    attempt: int, late: int, jitter: float, asked: float | None
) -> None:
    at = next_attempt(T, attempt, T + late, jitter, asked)

    if at is not None:
        assert T + late < at <= T + SCHEDULE[-1]
        assert asked is None or at >= min(
            T + late + int(asked * SECOND), T + SCHEDULE[-1]
        )  # the last try is at its end


def test_jitter_makes_an_attempt_earlier_by_a_tenth_of_its_pause_at_most() -> None:
    calm, jittery = next_attempt(T, 4, T + SCHEDULE[3], 0.0), next_attempt(T, 4, T + SCHEDULE[3], 1.0)

    assert calm is not None
    assert jittery is not None
    assert calm - jittery == (SCHEDULE[4] - SCHEDULE[3]) // 10


def test_retry_after_is_read_as_seconds_and_as_a_date_and_bounded() -> None:
    later = format_datetime(datetime.fromtimestamp(T / 1000, UTC) + timedelta(seconds=90), usegmt=True)

    assert retry_after_of("120", T) == 120
    assert retry_after_of(later, T) == 90
    assert retry_after_of("99999999999999999999", T) == 86_400
    assert [retry_after_of(text, T) for text in (None, "", "soon", "-5", "²")] == [None] * 5


@given(st.text())
def test_no_retry_after_is_an_error(text: str) -> None:
    found = retry_after_of(text, T)

    assert found is None or 0 <= found <= 86_400


def test_which_answers_are_final() -> None:
    assert [code for code in range(200, 600) if is_final(code)] == [
        c for c in range(400, 500) if c not in (408, 425, 429)
    ]


def test_a_breaker_opens_after_five_failures_probes_with_one_and_closes_when_that_arrives() -> None:
    breaker, sick = Breaker(), Answer(None, "connection refused")
    for _ in range(5):
        assert breaker.lets(T)
        breaker.saw(sick, T)
    assert not breaker.lets(T + 29 * SECOND)
    assert breaker.lets(T + 30 * SECOND)
    breaker.sending()
    assert not breaker.lets(T + 30 * SECOND)  # one probe at a time
    breaker.saw(sick, T + 30 * SECOND)
    assert not breaker.lets(T + 89 * SECOND)  # twice as long
    assert breaker.state(T + 89 * SECOND) == 2

    breaker.saw(Answer(200), T + 90 * SECOND)

    assert breaker.lets(T + 90 * SECOND)
    assert breaker.state(T + 90 * SECOND) == 0


def test_a_refused_payload_or_a_plea_for_patience_says_nothing_of_an_endpoints_health() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.saw(Answer(400, "http 400", final=True), T)
        breaker.saw(Answer(429, "http 429"), T)

    assert breaker.lets(T)
