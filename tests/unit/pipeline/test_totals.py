"""Totals: columns equal plain Python, whatever a scope asks for; corrections are exact differences; any cut adds up."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import totals as pipeline_totals
from streams.pipeline.adjust import Pairs, adjusted_totals
from streams.pipeline.totals import CAUSES, IN_LEDGER, TOTALS, _encode, read_totals, split, totals
from streams.watch.scopes import Scope
from tests.support.rated import RATED, Row, as_found, oracle, rated, row

START = 1_790_000_000_000
TEAM = Scope("team", "*", (), ("team",))
FULL = Scope(
    id="full", tenant="*", where=(), each=("team",), slice_ms=15_000, contributors=("model", "user_id"), unit="tokens",
    measures=("retries", "tool_calls", "errors", "throttled", "latency_ms", "time_to_first_token_ms", "repeats", "output_*"),
)  # fmt: skip
SCOPES = (
    TEAM,
    FULL,
    Scope("twin", "*", (), ("team",), slice_ms=15_000, contributors=("model", "user_id"), unit="tokens",
          measures=FULL.measures),
    Scope("visible", "*", (), (), buckets=("output_v*", "input_audio_ms"), unit="tokens", contributors=("model",)),
    Scope("shares", "*", (("provider", "openai"),), ("tenant_id",), ("team", ("a", "b")), contributors=("team", "model")),
    Scope("acme", "acme", (), ("user_id", "model"), unit="unpriced", contributors=("team",)),
    Scope("long", "*", (), ("workload_id",), unit="events", above=500, contributors=("model",)),
    Scope("tries", "*", (), (), unit="retries", measures=("retries",), contributors=("team",)),
    Scope("own", "*", (("attributes.x", "1"),), ("attributes.g",)),
)  # fmt: skip
words = st.sampled_from([None, "a", "b", "c|=\\", ""])
events = st.builds(
    row,
    st.integers(START, START + 100_000),
    st.dictionaries(
        st.sampled_from(["input_uncached", "input_cache_read", "output_visible", "output_reasoning", "input_audio_ms"]),
        st.integers(0, 1_000),
    ),
    st.none() | st.decimals(0, 10, places=9).map(str),
    append_time=st.integers(START, START + 100_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
    tenant_id=st.sampled_from(["acme", "other|"]),
    provider=st.sampled_from(["openai", "house"]),
    team=words,
    model=words,
    user_id=words,
    workload_id=words,
    attempt=st.sampled_from([None, 1, 2]),
    retry_of=st.sampled_from([None, "e1"]),
    http_status=st.sampled_from([None, 200, 429, 500]),
    error_type=st.sampled_from([None, None, "rate_limit_exceeded", "timeout"]),
    completion_state=st.sampled_from([None, "complete", "error"]),
    tool_calls=st.sampled_from([None, 0, 3]),
    latency_ms=st.none() | st.integers(0, 90_000),
    time_to_first_token_ms=st.none() | st.integers(0, 900),
    tool_call_hashes=st.lists(st.sampled_from(["search:1f", "search:2a"]), max_size=3),
    attributes=st.lists(
        st.fixed_dictionaries({"key": st.sampled_from("xg"), "value": st.sampled_from("12")}),
        max_size=2,
        unique_by=lambda a: a["key"],
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=12))
def test_columns_say_what_plain_python_says(told: list[Row]) -> None:
    found = totals(rated(told), SCOPES)

    assert found.schema == TOTALS
    assert as_found(found) == oracle(told, SCOPES)
    assert found.equals(found.sort("scope", "slice", "currency"))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(events, max_size=12), st.lists(st.none() | st.decimals(0, 10, places=9).map(str), min_size=12, max_size=12)
)
def test_what_stood_and_its_correction_are_what_stands(told: list[Row], costs: list[str | None]) -> None:
    """Every event gets another cost; those of team a are voided."""
    new = [
        e | {"effective_cost": None if c is None else Decimal(c), "currency": None if c is None else "EUR",
             "is_deleted": int(e["team"] == "a")}
        for e, c in zip(told, costs, strict=False)
    ]  # fmt: skip
    before = oracle(told, SCOPES)

    moved = as_found(adjusted_totals(Pairs(rated(told), rated(new)), SCOPES))

    after = oracle([e for e in new if not e["is_deleted"]], SCOPES)
    figures = ("events", "tokens", "unpriced", "unpriced_tokens", "cost")
    nothing: Row = {**dict.fromkeys(figures, 0), "extras": {}, "causes": {}}
    for key in before.keys() | after.keys() | moved.keys():
        old, change, now = before.get(key, nothing), moved.get(key, nothing), after.get(key, nothing)
        assert [old[f] + change[f] for f in figures] == [now[f] for f in figures]
        for part in ("extras", "causes"):
            names = old[part].keys() | change[part].keys()
            sums = {n: old[part].get(n, 0) + change[part].get(n, 0) for n in names}
            assert {n: v for n, v in sums.items() if v} == now[part]


@settings(max_examples=25, deadline=None)
@given(st.lists(events, max_size=12), st.integers(0, 12))
def test_two_chunks_add_up_to_what_one_says(told: list[Row], cut: int) -> None:
    parts = [as_found(totals(rated(part), SCOPES)) for part in (told[:cut], told[cut:])]

    for key, whole in as_found(totals(rated(told), SCOPES)).items():
        some = [part[key] for part in parts if key in part]
        assert sum(s["cost"] for s in some) == whole["cost"]
        assert sum(s["tokens"] for s in some) == whole["tokens"]
        assert min(s["first_ms"] for s in some) == whole["first_ms"]
        names = {n for s in some for n in s["extras"]}
        assert {n: sum(s["extras"].get(n, 0) for s in some) for n in names} == whole["extras"]


@pytest.mark.parametrize("each", [("team",), ("team", "model")])
@settings(max_examples=25, deadline=None)
@given(told=st.lists(events, max_size=12))
def test_the_children_add_up_to_their_parent(each: tuple[str, ...], told: list[Row]) -> None:
    told = [e | {"team": e["team"] or "t", "model": e["model"] or "m"} for e in told]

    children, parent = (totals(rated(told), [Scope("s", "*", (), names)]) for names in (each, ()))

    for name in ("events", "tokens", "unpriced", "cost"):
        assert children[name].sum() == parent[name].sum()


@given(st.lists(events, min_size=1, max_size=8), st.integers(1, 30))
@settings(max_examples=20)
def test_however_many_scopes_are_looked_at_together_they_say_the_same(told: list[Row], most: int) -> None:
    frame = rated(told)
    with pytest.MonkeyPatch.context() as patch:
        together = totals(frame, SCOPES)
        patch.setattr(pipeline_totals, "MOST_ROWS", most)

        assert as_found(totals(frame, SCOPES)) == as_found(together)


def test_a_producer_whose_clock_is_ahead_does_not_move_the_clock_of_others() -> None:
    appended = datetime.fromtimestamp((START + 59_000) / 1000, UTC)
    ahead = row(START + 299_000, cost="1", team="a", append_time=appended)

    [found] = totals(rated([ahead]), [TEAM]).iter_rows(named=True)

    assert (found["first_ms"], found["last_ms"]) == (START + 59_000, START + 59_000)
    assert found["slice"] == START + 59_000 - (START + 59_000) % TEAM.slice_ms


def test_a_row_names_the_largest_causes_only() -> None:
    told = [row(START, cost=str(n), team="a", model=f"m{n:02}") for n in range(1, 20)]

    [found] = totals(rated(told), [Scope("s", "*", (), ("team",), contributors=("model",))]).rows(named=True)

    assert sorted(c["value"] for c in found["causes"]) == [f"m{n}" for n in range(20 - CAUSES, 20)]


def test_nothing_is_computed_that_nobody_asked_for() -> None:
    found = totals(rated([row(START, team="a")]), [TEAM])

    assert found.select("extras", "causes").row(0) == (None, None)


def test_a_batch_older_than_the_fingerprints_of_tool_calls_has_none() -> None:
    old = rated([row(START, team="a", tool_calls=2)]).drop("tool_call_hashes", "latency_ms", "completion_state")

    [found] = as_found(totals(old, [FULL])).values()

    assert found["extras"] == {"tool_calls": 2}


def test_totals_come_back_from_the_topic_as_they_were() -> None:
    found = totals(rated([row(START + n, team=f"t{n}", model="m", latency_ms=n) for n in range(50)]), SCOPES)

    parts = [read_totals(part) for part in split(found, 3)]

    assert pl.concat(parts).sort("scope", "slice").equals(found.sort("scope", "slice"))
    assert read_totals(split(totals(pl.DataFrame(schema=RATED), SCOPES), 1)[0]).schema == TOTALS


def test_a_message_that_would_be_too_large_leaves_out_the_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = totals(rated([row(START, team=f"t{n}", user_id=f"u{n}") for n in range(200)]), [FULL])
    bare = len(_encode(found.with_columns(pl.lit(None, TOTALS["causes"]).alias("causes"))))
    assert bare < len(_encode(found))
    monkeypatch.setattr("streams.pipeline.totals.MOST_BYTES", bare)

    assert read_totals(_encode(found))["causes"].to_list() == [None] * 200


def test_one_that_is_too_large_without_causes_too_leaves_its_rows_in_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = totals(rated([row(START, team="a", model="m")]), [FULL])
    monkeypatch.setattr("streams.pipeline.totals.MOST_BYTES", 10)

    assert split(found, 2) == [IN_LEDGER, IN_LEDGER]
