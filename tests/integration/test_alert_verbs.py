"""alerts, exceptions and annotate on the real broker: what a person does, what is on record, what is refused."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli import main
from streams.cli.watching import look
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.ports import append_surely
from streams.settings import Settings

pytestmark = pytest.mark.integration
TENANT = "verbs"
NOW = datetime.now(UTC).replace(microsecond=0)
if not main.app.registered_commands:
    main.mount()


def moment(minutes: float) -> str:
    return f"{NOW + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.000Z}"


def record(name: str, revision: int = 1, **other: Any) -> dict[str, Any]:
    scope = f"team-rolling-day|tenant_id={TENANT}|team=search"
    return {
        "alert_id": f"{name}0123456789abcdef", "revision": revision, "state": "firing", "reason": "crossed", "kind": "budget",
        "tenant_id": TENANT, "budget_id": "team-rolling-day", "scope": scope,
        "dimensions": {"tenant_id": TENANT, "team": "search"},
        "parents": [], "severity": "warning", "threshold": "0.8", "value": "35", "limit": "40", "percent": "87.5",
        "unit": "cost", "currency": "USD", "events": 3, "unpriced_events": 1, "owner": "platform", "accountable": "ada",
        "window": {"name": "period", "kind": "rolling", "size": "24h", "zone": None}, "runbook": "https://wiki/limits",
        "period_start": moment(-1440), "period_end": moment(0), "occurred_at": moment(-10), "detected_at": moment(-10),
        "since": moment(-10), "late": False, "lateness_ms": 0, "silenced": None, "acknowledged": None, "escalation": 0,
        "contributors": [{"dimension": "model", "value": "gpt-5.2", "amount": "30", "share": "0.8571"}],
        "query": "usage-streams query alert_events", "summary": f"{scope}: 87.5 % of 40 USD",
    } | other  # fmt: skip


@pytest.fixture(scope="module")
def alerts(settings: Settings) -> None:
    """Alerts as the watch would have published them."""

    async def send() -> None:
        kafka = KafkaClient(settings.bootstrap)
        try:
            for one in (
                record("aaaa"),
                record("aaaa", 2, reason="reminder", occurred_at=moment(-5)),
                record("aaab", severity="critical", owner="finance", threshold="1"),
                record("bbbb", 1, tenant_id="others"),
                record("cccc", 2, state="resolved", reason="cleared"),
            ):
                log = kafka.log(topics.ALERTS, ord(one["alert_id"][0]) % 2)
                await append_surely(log, json.dumps(one).encode(), [], key=one["alert_id"].encode())
        finally:
            await kafka.close()

    asyncio.run(send())


class Verbs:
    """The command line against this stack."""

    def __init__(self, settings: Settings) -> None:
        self.environment = {
            "USAGE_STREAMS_BOOTSTRAP": settings.bootstrap,
            "USAGE_STREAMS_CLICKHOUSE_URL": settings.clickhouse_url,
            "COLUMNS": "300",
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main.app, list(arguments), env=self.environment)
        assert done.exit_code == code, f"{done.output}{done.exception!r}"
        return done.stderr if code == 2 else done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def verbs(settings: Settings) -> Verbs:
    return Verbs(settings)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(r["alert_id"][:4] for r in rows)


@pytest.mark.usefixtures("alerts")
def test_alerts_that_are_open_are_listed_and_filtered(verbs: Verbs) -> None:
    mine = ("alerts", "list", "--tenant", TENANT)

    assert ids(verbs.json(*mine, code=1)) == ["aaaa", "aaab"]
    assert ids(verbs.json(*mine, "--all", code=1)) == ["aaaa", "aaab", "cccc"]
    assert ids(verbs.json(*mine, "--severity", "critical", code=1)) == ["aaab"]
    assert ids(verbs.json(*mine, "--owner", "platform", code=1)) == ["aaaa"]
    assert ids(verbs.json(*mine, "--state", "resolved")) == ["cccc"]
    assert ids(verbs.json(*mine, "--rule", "team-rolling-day", "--kind", "budget", code=1)) == ["aaaa", "aaab"]
    assert verbs.json(*mine, "--owner", "nobody") == []
    said = verbs.run(*mine, code=1)
    assert "aaaa01234567" in said
    assert "35 of 40 USD (87.5 %)" in said
    assert "no alert is open" in verbs.run("alerts", "list", "--owner", "nobody")


@pytest.mark.usefixtures("alerts")
def test_what_is_misspelt_is_refused_with_what_there_is(verbs: Verbs) -> None:
    assert "take one of pending, firing" in verbs.run("alerts", "list", "--state", "open", code=2)
    slip = "rule team-roling-day: no budget, burn rate, run or rule has this id; is it team-rolling-day?"
    assert slip in verbs.run("alerts", "list", "--rule", "team-roling-day", code=2)
    silence = ("alerts", "silence", "--rule", "team-roling-day", "--for", "1h", "--reason", "r")
    assert slip in verbs.run(*silence, code=2)
    assert "kind budgte: there is none" in verbs.run("alerts", "list", "--kind", "budgte", code=2)
    assert "alert zzzz: there is none" in verbs.run("alerts", "ack", "zzzz", code=2)
    assert "alert aa: 2 begin so" in verbs.run("alerts", "ack", "aa", code=2)
    assert "alert bbbb: there is none" in verbs.run("alerts", "explain", "bbbb", "--tenant", TENANT, code=2)
    assert "is resolved; only what fires" in verbs.run("alerts", "ack", "cccc", code=2)


@pytest.mark.usefixtures("alerts")
def test_an_acknowledgement_is_on_record_with_who_and_why(verbs: Verbs, settings: Settings) -> None:
    said = verbs.run("alerts", "ack", "aaab", "--note", "on it", "--by", "ada")

    assert said == "alert aaab01234567: acknowledged by ada\n"
    kept = look(settings).commands.state.acks["aaab0123456789abcdef"]
    assert (kept.by, kept.note, kept.scope) == ("ada", "on it", f"team-rolling-day|tenant_id={TENANT}|team=search")
    [row] = verbs.json("alerts", "list", "--tenant", TENANT, "--state", "acknowledged")
    assert (row["alert_id"][:4], row["acknowledged"]["by"]) == ("aaab", "ada")
    assert "ada has acknowledged it already" in verbs.run("alerts", "ack", "aaab", code=2)


@pytest.mark.usefixtures("alerts")
def test_an_alert_is_explained_with_what_happened_near_it(verbs: Verbs) -> None:
    near = ("--tenant", TENANT, "--where", "team=search")
    verbs.run("annotate", "search 1.4", "--type", "deploy", *near, "--at", moment(-30), "--id", "build-1", "--by", "ci")
    verbs.run("annotate", "ads 2.0", "--type", "deploy", "--tenant", TENANT, "--where", "team=ads", "--at", moment(-30))
    verbs.run("annotate", "long ago", "--type", "deploy", *near, "--at", moment(-10_000))

    found = verbs.json("alerts", "explain", "aaaa")

    assert [a["text"] for a in found["annotations"]] == ["search 1.4"]
    assert [(h["revision"], h["reason"]) for h in found["history"]] == [(1, "crossed"), (2, "reminder")]
    assert [(t["threshold"], t["amount"]) for t in found["thresholds"]] == [("0.8", "32"), ("1", "40")]
    assert (found["events"], found["events_problem"]) == ([], None)  # the warehouse was asked and has none
    said = verbs.run("alerts", "explain", "aaaa")
    for words in ("87.5 % of 40 USD", "who causes it", "gpt-5.2", "search 1.4", "https://wiki/limits", "reminder"):
        assert words in said


@pytest.mark.usefixtures("alerts")
def test_an_explanation_says_when_the_warehouse_is_away_and_explains_the_rest(verbs: Verbs) -> None:
    verbs.environment["USAGE_STREAMS_CLICKHOUSE_URL"] = "http://127.0.0.1:1"

    found = verbs.json("alerts", "explain", "aaaa")

    assert found["events"] is None
    assert "does not answer" in found["events_problem"]
    assert found["alert"]["value"] == "35"
    assert "events: unknown: clickhouse" in verbs.run("alerts", "explain", "aaaa")


@pytest.mark.usefixtures("alerts")
def test_a_silence_is_made_listed_and_ended(verbs: Verbs) -> None:
    asked = ("alerts", "silence", "--tenant", TENANT, "--reason", "load test", "--id", "quiet")
    made = verbs.json(*asked, "--alert", "aaaa", "--for", "2h")

    assert made["silence"]["match"] == {
        "rules": ["team-rolling-day"], "tenant": TENANT, "where": {"team": "search"}
    }  # fmt: skip
    [row] = verbs.json("alerts", "silences", "--tenant", TENANT)
    assert (row["id"], row["state"], row["match"]) == ("quiet", "in force", "rules=team-rolling-day team=search")
    assert [s["id"] for s in verbs.json("alerts", "explain", "aaaa")["silences"]] == ["quiet"]
    assert {a["silenced"]["id"] for a in verbs.json("alerts", "list", "--tenant", TENANT)} == {"quiet"}
    assert "there is one of that name" in verbs.run(*asked, "--for", "1h", code=2)

    assert verbs.run("alerts", "unsilence", "quiet", "--by", "ada") == "silence quiet: ended by ada\n"

    assert "nothing is silenced" in verbs.run("alerts", "silences", "--tenant", TENANT)
    assert {a["silenced"] for a in verbs.json("alerts", "list", "--tenant", TENANT, code=1)} == {None}
    assert [r["lifted_by"] for r in verbs.json("alerts", "silences", "--all", "--tenant", TENANT)] == ["ada"]
    assert "is over" in verbs.run("alerts", "unsilence", "quiet", code=2)


def test_a_silence_says_what_it_matches_and_whose(verbs: Verbs) -> None:
    asked = ("alerts", "silence", "--kind", "low_usage", "--reason", "r", "--for", "1h", "--id", "wide")

    assert verbs.run(*asked).startswith("silence wide: kinds=low_usage of all tenants, until ")

    verbs.run("alerts", "unsilence", "wide")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--reason", "r", "--for", "2h"), "nothing says which alerts"),
        (("--reason", "r", "--rule", "x"), "say how long"),
        (("--reason", "r", "--rule", "team-rolling-day", "--for", "soon"), "write a number and a unit, such as 90s"),
        (("--reason", "r", "--where", "team", "--for", "2h"), "write it as dimension=value"),
        (("--reason", "r", "--where", "taem=a", "--for", "2h"), "dimension taem: there is none"),
        (("--reason", "r", "--severity", "bad", "--for", "2h"), "is 'bad'; write 'info', 'warning' or 'critical'"),
        (("--reason", "r", "--rule", "team-rolling-day", "--until", "2020-01-01", "--starts", "2019-01-01"), "is past"),
    ],
)
def test_a_silence_that_cannot_be_is_refused(verbs: Verbs, arguments: tuple[str, ...], said: str) -> None:
    refused = " ".join(verbs.run("alerts", "silence", *arguments, code=2).replace("│", "").split())

    assert said in refused


REQUEST = (
    "exceptions", "request", "--budget", "team-rolling-day", "--tenant", TENANT, "--where", "team=search", "--extra", "100",
    "--justification", "launch week", "--expires", f"{NOW + timedelta(days=9):%Y-%m-%d}", "--by", "bob",
)  # fmt: skip


def test_an_exception_goes_from_request_to_approval_to_revocation(verbs: Verbs) -> None:
    def state() -> list[tuple[str, str | None]]:
        rows = verbs.json("exceptions", "list", "--tenant", TENANT, "--all")
        return [(r["state"], r["approver"]) for r in rows if r["id"] == "launch"]

    said = verbs.run(*REQUEST, "--id", "launch")
    assert said == "exception launch: requested by bob; `usage-streams exceptions approve launch` decides\n"
    assert state() == [("requested", None)]

    assert "bob asked for it" in verbs.run("exceptions", "approve", "launch", "--by", "bob", code=2)
    verbs.run("exceptions", "approve", "launch", "--by", "ada", "--note", "agreed")
    assert state() == [("in force", "ada")]
    assert "was approved by ada" in verbs.run("exceptions", "deny", "launch", code=2)

    verbs.run("exceptions", "revoke", "launch", "--by", "eve", "--note", "moved")
    assert state() == [("revoked", "ada")]
    assert "is revoked; nothing is left" in verbs.run("exceptions", "revoke", "launch", code=2)


def test_a_denied_request_stays_on_record_and_is_not_open(verbs: Verbs) -> None:
    verbs.run(*REQUEST, "--id", "no")
    verbs.run("exceptions", "deny", "no", "--by", "ada", "--note", "use batch")

    rows = {r["id"]: r for r in verbs.json("exceptions", "list", "--tenant", TENANT, "--all")}
    assert (rows["no"]["state"], rows["no"]["approver"], rows["no"]["note"]) == ("denied", "ada", "use batch")
    assert "no" not in [r["id"] for r in verbs.json("exceptions", "list", "--tenant", TENANT)]


def test_an_exception_that_is_open_past_its_reason_is_a_finding(verbs: Verbs) -> None:
    past = ("--starts", "2020-01-01", "--reason-ends", "2020-02-01", "--tenant", "overdue-verbs")
    verbs.run(*REQUEST, *past, "--id", "forgotten")
    verbs.run("exceptions", "approve", "forgotten")

    [row] = verbs.json("exceptions", "list", "--tenant", "overdue-verbs", code=1)
    assert (row["state"], row["overdue_since"]) == ("in force", "2020-02-01T00:00:00Z")
    assert "overdue since 2020-02-01" in verbs.run("exceptions", "list", "--tenant", "overdue-verbs", code=1)
    verbs.run("exceptions", "revoke", "forgotten")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "teem"), "budget teem is unknown"),
        (("--extra", "lots"), "exception"),
        (("--expires", "2020-01-01", "--starts", "2019-01-01"), "is past"),
        (("--expires", "tomorrow"), "write a day or a time"),
    ],
)
def test_a_request_that_cannot_be_is_refused(verbs: Verbs, arguments: tuple[str, ...], said: str) -> None:
    assert said in verbs.run(*REQUEST, *arguments, code=2)


def test_somebody_limited_to_a_tenant_decides_nothing_of_others(verbs: Verbs) -> None:
    verbs.run(*REQUEST, "--id", "theirs")

    assert "belongs to tenant verbs" in verbs.run("exceptions", "approve", "theirs", "--tenant", "globex", code=2)


def test_an_annotation_is_refused_when_its_type_is_unknown(verbs: Verbs) -> None:
    assert "write 'deploy'" in verbs.run("annotate", "x", "--type", "party", code=2)
