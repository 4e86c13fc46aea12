"""The stage notify on the real broker, with real endpoints on loopback: killed, restarted, asked on the command line."""

import asyncio
import json
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from standardwebhooks import Webhook
from typer.testing import CliRunner

from streams.catalog.models import Catalog
from streams.catalog.parse import parse_files
from streams.cli import main
from streams.cli.apply import publish
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.queries import run_query
from tests.support.notifying import alert
from tests.support.stages import Stage, until

pytestmark = pytest.mark.integration
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"  # made up
README = (Path(__file__).parents[2] / "README.md").read_text()


class Endpoint:
    """An HTTP server in a thread; `status` is what it answers."""

    def __init__(self) -> None:
        self.status, self.seen = 200, list[tuple[str, dict[str, str], bytes]]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def at(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(body) for where, _, body in self.seen if where == path]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    one = Endpoint()
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_URL", f"{one.url}/slack")
    monkeypatch.setenv("PAGER_KEY", "k" * 32)
    monkeypatch.setenv("USAGE_STREAMS_NOTIFY_PRIVATE", "true")
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def told(settings: Settings, endpoint: Endpoint) -> Iterator[str]:
    """A tenant whose alerts are told: by webhook, Slack, PagerDuty and topic."""
    tenant = f"told-{time.time_ns()}"
    text = f"""
[[endpoints]]
id = "hook"
kind = "webhook"
url = "{endpoint.url}/hook"
secrets = "env:HOOK_SECRET"
[[endpoints]]
id = "slack"
kind = "slack_webhook"
url = "env:SLACK_URL"
[[endpoints]]
id = "on-call"
kind = "pagerduty"
url = "{endpoint.url}/pager"
secrets = "env:PAGER_KEY"
[[endpoints]]
id = "bus"
kind = "topic"
[[routes]]
id = "all"
match = {{ tenant = "{tenant}" }}
endpoints = ["hook", "slack", "on-call", "bus"]
group_wait = "1s"
"""
    own = parse_files({"routes.toml": text})

    def put(endpoints: Any, routes: Any) -> Callable[[Catalog | None], Catalog]:
        return lambda now: (now or Catalog()).model_copy(update={"endpoints": endpoints, "routes": routes})

    asyncio.run(publish(settings, put(own.endpoints, own.routes), dry_run=False, confirm=False))
    yield tenant
    asyncio.run(publish(settings, put((), ()), dry_run=False, confirm=False))


def fire(settings: Settings, tenant: str, *records: dict[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def inner() -> None:
        kafka = KafkaClient(settings.bootstrap)
        try:
            for one in records:
                record = one | {"tenant_id": tenant, "detected_at": now, "occurred_at": now, "since": now}
                place = sum(record["alert_id"].encode()) % settings.totals_partitions
                await kafka.log(topics.ALERTS, place).append(
                    json.dumps(record).encode(), [], record["alert_id"].encode()
                )
        finally:
            await kafka.close()

    asyncio.run(inner())


def cli(settings: Settings, *words: str) -> Any:
    if not main.app.registered_commands:
        main.mount()
    return CliRunner().invoke(main.app, [*words, "--bootstrap", settings.bootstrap])


def test_alerts_are_told_once_whatever_dies_and_stand_in_the_warehouse(
    settings: Settings, client: Client, stage: Callable[..., Stage], endpoint: Endpoint, told: str
) -> None:
    names = [f"{told}-{n}" for n in range(6)]
    endpoint.status = 500
    first = stage("notify", worker_id="n", notify_private="true")
    fire(settings, told, *(alert(name) for name in names))
    until(lambda: len(endpoint.at("/hook")) >= 4, 60, "tried while the endpoint is sick", first.said)
    first.kill()
    endpoint.status = 200
    second = stage("notify", worker_id="n", notify_private="true")
    paths = ("/hook", "/slack", "/pager")

    def delivered() -> bool:
        rows = json.loads(cli(settings, "notify", "deliveries", "--json").stdout)
        mine = [r for r in rows if r["alert_id"] in names]
        return len(mine) == 24 and {r["status"] for r in mine} == {"sent"}

    until(delivered, 420, "everything sent", lambda: second.said() + cli(settings, "notify", "deliveries").stdout)
    counts = {path: len(endpoint.at(path)) for path in paths}
    second.kill()
    third = stage("notify", worker_id="n", notify_private="true")
    fire(settings, told, *(alert(name) for name in names))  # a rebuild of the watch publishes them again
    fire(settings, told, *(alert(name, 2, "resolved") for name in names))

    def over() -> bool:
        ended = {one["data"]["alert_id"] for one in endpoint.at("/hook") if one["type"] == "budget.threshold.resolved"}
        closed = {one["dedup_key"] for one in endpoint.at("/pager") if one["event_action"] == "resolve"}
        return ended == closed == set(names)

    until(over, 60, "told to be over", third.said)
    assert len(endpoint.at("/hook")) == counts["/hook"] + 6  # nobody was told again
    assert len(endpoint.at("/pager")) == counts["/pager"] + 6
    for path, headers, body in endpoint.seen:
        if path == "/hook":
            Webhook(SECRET).verify(body, headers)
    for log in (first.said(), second.said(), third.said()):
        assert SECRET not in log
        assert "k" * 32 not in log

    keeper = stage("warehouse")

    def stored() -> bool:
        sql = "SELECT count() FROM usage.deliveries WHERE tenant_id = {t:String} AND status = 'sent' AND state = 'resolved'"
        return int(client.query(sql, parameters={"t": told}).result_rows[0][0]) == 24

    until(stored, 60, "stored", keeper.said)
    rows = run_query(client, "deliveries", {"start": "2026-01-01 00:00:00", "end": "2100-01-01 00:00:00"})
    sent = {str(row["endpoint"]): row for row in rows if row["status"] == "sent"}
    assert {"hook", "slack", "on-call", "bus"} <= set(sent)
    assert int(str(sent["hook"]["deliveries"])) >= 12
    assert int(str(sent["hook"]["repeated"])) >= 4
    assert float(str(sent["hook"]["median_ms"])) > 0


def test_the_command_line_lists_previews_tests_and_owes_again(
    settings: Settings, stage: Callable[..., Stage], endpoint: Endpoint, told: str
) -> None:
    [block] = [b for b in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "notify list" in b]
    lines = block.replace(" bus ", " on-call ").splitlines()  # bus is of the starter catalog; a pager is asked more of
    said = [cli(settings, *shlex.split(line, comments=True)[1:]) for line in lines]
    assert [one.exit_code for one in said] == [0] * len(said), [one.output for one in said]
    assert "hook" in said[0].stdout
    assert json.loads(said[1].stdout)["event_action"] == "trigger"
    assert "k" * 32 not in said[1].stdout
    [trigger, resolve] = endpoint.at("/pager")
    assert trigger["payload"]["summary"].startswith("TEST")
    assert resolve["event_action"] == "resolve"

    worker, name = stage("notify", notify_private="true"), f"{told}-again"
    endpoint.status = 400
    fire(settings, told, alert(name))

    def given_up() -> bool:
        rows = json.loads(cli(settings, "notify", "deliveries", name, "--failed", "--json").stdout)
        return {r["endpoint"] for r in rows if r["status"] == "given_up"} == {"hook", "slack", "on-call"}

    until(given_up, 60, "given up", worker.said)
    endpoint.status = 200
    dry = cli(settings, "notify", "redeliver", name, "--failed", "--json")
    assert len(json.loads(dry.stdout)["deliveries"]) == 3
    slip = cli(settings, "notify", "redeliver", "zzz", "--yes")
    assert (slip.exit_code, slip.stdout) == (1, "")
    assert "delivery zzz: there is none of that id or alert" in slip.stderr
    before = len(endpoint.seen)
    done = cli(settings, "notify", "redeliver", name, "--failed", "--yes", "--json")
    assert json.loads(done.stdout)["redelivered"] is True

    def sent() -> bool:
        rows = json.loads(cli(settings, "notify", "deliveries", name, "--json").stdout)
        return {r["status"] for r in rows} == {"sent"}

    until(sent, 60, "sent again", lambda: worker.said() + cli(settings, "notify", "deliveries", name).stdout)
    assert len(endpoint.seen) == before + 3
    ids = [headers["webhook-id"] for path, headers, _ in endpoint.seen if path == "/hook"]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    preview = cli(settings, "notify", "preview", name[:-1], "--endpoint", "slack")  # the only one that begins so
    assert name in preview.stdout or "team-day" in preview.stdout
    assert cli(settings, "notify", "preview", "nothing", "--endpoint", "slack").exit_code == 2
    assert cli(settings, "notify", "test", "nobody").exit_code == 2
    endpoint.status = 500
    assert cli(settings, "notify", "test", "hook").exit_code == 1
