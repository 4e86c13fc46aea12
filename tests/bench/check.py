"""`make bench ARGS=--check`: how long a check takes over HTTP beside a running meter, and how soon a verdict follows an event.

    python -m tests.bench.check

steady:      2,000 events/s go through the stages meanwhile
catching_up: the meter works off half a million events as fast as it can, which takes more than one core
verdict_ms: from the broker's acknowledgement of the event that crosses a limit to the first check that says stop
memory:     bytes a scope in the API's memory, and the time of one check among a million
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import urllib3

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.cli.apply import publish
from streams.cli.running import find_api, find_settings, stack_of
from streams.cli.up import bring_up, take_down
from streams.embedded.stack import NICE
from streams.producer import UsageProducer
from tests.bench import meter as meter_bench
from tests.bench.load import TEAMS, fill
from tests.support.events import event

RATE, SECONDS, CONNECTIONS = 2_000, 10, 16
BACKLOG = 500_000
PROBES = 30
OTHERS = 5  # budgets of other tenants, which a question passes by
MONTH = Calendar(every="month")


def catalog() -> Catalog:
    """The models of the load with prices; three budgets above each other that every question meets, and those of others."""
    own = (
        Budget(id="company", limit=Decimal(10**9), period=MONTH),
        Budget(id="team", each=("team",), limit=Decimal(10**8), period=MONTH, parent="company"),
        Budget(id="user", each=("user_id",), limit=Decimal(10**7), period=MONTH, parent="company"),
        Budget(id="probe", tenant="probe", each=("team",), limit=Decimal("0.000001"), period=MONTH),
    )
    others = tuple(Budget(id=f"other-{i}", tenant=f"other-{i}", limit=Decimal(1), period=MONTH) for i in range(OTHERS))
    return Catalog(prices=meter_bench.catalog().prices, budgets=(*own, *others))


def asked(url: str, rate: int, seconds: int) -> dict[str, Any]:
    """The client's figures."""
    paths = [f"/v1/check?tenant=acme&team={t}&user_id=user-{i}&amount=0.05" for i, t in enumerate(TEAMS)]
    where = urlsplit(url)
    command = [sys.executable, "-m", "tests.bench.asker", str(where.hostname), str(where.port)]
    command += [str(rate), str(seconds), str(CONNECTIONS)]
    done = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"asker: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(url: str, pids: dict[str, int], rate: int, seconds: int) -> dict[str, Any]:
    """The client's figures, and what the API and the meter used meanwhile, as shares of one core."""
    processes = {name: psutil.Process(pids[name]) for name in ("api", "meter")}
    before = {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
    began = time.perf_counter()
    found = asked(url, rate, seconds)
    took = time.perf_counter() - began
    for name, process in processes.items():
        found[f"{name}_cpu_share"] = round((sum(process.cpu_times()[:2]) - before[name]) / took, 3)
    found["load_average"] = psutil.getloadavg()[0]
    return found


async def produced(bootstrap: str, rate: int) -> None:
    """Events at a steady rate, until it is cancelled."""
    loop = asyncio.get_running_loop()
    async with UsageProducer(bootstrap) as usage:
        started, number = loop.time(), 0
        while True:
            due = int((loop.time() - started) * rate)
            for i in range(number, due):
                team, user = TEAMS[i % len(TEAMS)], f"user-{i % len(TEAMS)}"
                await usage.send(
                    event(i, event_id=f"steady-{time.time_ns()}-{i}", event_time=int(time.time() * 1000),
                          model="model-1", team=team, user_id=user)
                )  # fmt: skip
            number = max(number, due)
            await asyncio.sleep(0.005)


async def verdicts(bootstrap: str, url: str) -> dict[str, float]:
    """Each probe has a team of its own, and so a scope whose first event crosses the limit."""
    pool, took = urllib3.PoolManager(), list[float]()
    async with UsageProducer(bootstrap) as usage:
        for i in range(PROBES):
            now = time.time_ns()
            said = event(i, event_id=f"probe-{now}", event_time=now // 1_000_000, tenant_id="probe", team=f"t{now}",
                         model="model-1")  # fmt: skip
            await (await usage.send(said))
            began = time.perf_counter()
            while pool.request("GET", f"{url}/v1/check?tenant=probe&team=t{now}").json()["verdict"] != "stop":
                if time.perf_counter() - began > 30:
                    raise SystemExit("the verdict did not change within 30 s")
                await asyncio.sleep(0.002)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)
    took.sort()
    return {name: round(took[min(PROBES - 1, int(PROBES * q))] * 1000) for name, q in (("p50", 0.5), ("p99", 0.99))}


def same_priority(pids: Mapping[str, int]) -> None:
    """Where others work on the machine too: whoever gave this bench's session a priority gave it to all that it measures."""
    with suppress(OSError):  # not Linux, or without autogroups
        nice = int(Path("/proc/self/autogroup").read_text().split()[-1])
        for name, pid in pids.items() if nice else ():
            Path(f"/proc/{pid}/autogroup").write_text(str(nice + NICE.get(name, 0)))


def wait_until_ready(url: str, seconds: float = 60) -> None:
    """Everything is read and fresh."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"{url}/readyz", retries=False).status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"the API is not ready: {urllib3.request('GET', f'{url}/readyz').data.decode()}")


def in_memory(scopes: int) -> dict[str, float]:
    """Of a process of its own."""
    command = [sys.executable, "-m", "tests.bench.check", "--memory", str(scopes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def memory(scopes: int) -> dict[str, float]:
    """Bytes of resident memory a scope; microseconds to take a record, and to answer a question about three scopes."""
    from streams.doors.view import View
    from streams.kafka.ports import Message
    from streams.watch.check import Question, check
    from tests.support.knowledge import NOW, record

    view, process = View(), psutil.Process()
    view.adopt(1, catalog())
    said = [record(f"user|tenant_id=acme|user_id=user-{i}", "1.25") for i in range(1_000)]
    bodies = [json.dumps({k: v for k, v in one.items() if k != "scope"}).encode() for one in said]  # the key says it
    before, began = process.memory_info().rss, time.process_time()
    for i in range(0, scopes, 1_000):
        messages = [
            Message(i + j, NOW, f"user|tenant_id=acme|user_id=user-{i + j}".encode(), body, ())
            for j, body in enumerate(bodies)
        ]
        view.take("usage.budgets", 0, messages)
    took, rss = time.process_time() - began, process.memory_info().rss - before
    question = Question({"tenant_id": "acme", "team": "a", "user_id": "user-7"}, amount=Decimal("0.05"))
    began = time.process_time()
    for _ in range(5_000):
        check(view.coverage, view, question, NOW)
    return {
        "scopes": scopes,
        "bytes_a_scope": round(rss / scopes),
        "take_us": round(took / scopes * 1e6, 1),
        "check_us": round((time.process_time() - began) / 5_000 * 1e6, 1),
    }


def beside(folder: Path, stages: Sequence[str]) -> dict[str, Any]:
    """With these stages; the stack is started and stopped here."""
    bring_up(folder, stages)
    try:
        settings, url, pids = find_settings(data=folder), find_api(folder), stack_of(folder)["pids"]
        same_priority(pids)
        asyncio.run(publish(settings, catalog(), dry_run=False, confirm=False))
        load = subprocess.Popen([sys.executable, "-m", "tests.bench.check", "--produce", settings.bootstrap])
        try:
            wait_until_ready(url)
            asked(url, 200, 3)  # warm
            found: dict[str, Any] = {"steady": measured(url, pids, RATE, SECONDS)}
            found["verdict_ms"] = asyncio.run(verdicts(settings.bootstrap, url))
        finally:
            load.terminate()
            load.wait()
        fill(settings.bootstrap, "usage.events", BACKLOG)
        found["catching_up"] = measured(url, pids, RATE, 6)
        found["idle"] = _settled(url, pids)
    finally:
        take_down(folder)
    for name in ("idle", "steady", "catching_up"):
        row, together = found[name], "+".join(stages)
        took = f"p50 {row['p50']:.2f} ms, p99 {row['p99']:.2f} ms, p99.9 {row['p999']:.2f} ms at {RATE:,}/s"
        busy = f"api {row['api_cpu_share']:.0%}, meter {row['meter_cpu_share']:.0%} of a core, load {row['load_average']:.1f}"
        print(f"check beside {together:<22}{name:<12}{took}; {busy}", flush=True)
    print(f"event to verdict p50 {found['verdict_ms']['p50']} ms, p99 {found['verdict_ms']['p99']} ms", flush=True)
    return found


def measure(folder: Path) -> dict[str, Any]:
    """Everything."""
    return {
        "rate": RATE,
        "beside_the_meter": beside(folder / "meter", ("meter", "watch")),
        "beside_everything": beside(folder / "all", ("meter", "watch", "warehouse")),
        "memory": in_memory(1_000_000),
    }


def _settled(url: str, pids: dict[str, int]) -> dict[str, Any]:
    """Once the meter has nothing to do any more."""
    process, until = psutil.Process(pids["meter"]), time.monotonic() + 120
    while process.cpu_percent(1.0) > 20 and time.monotonic() < until:
        continue
    return measured(url, pids, RATE, 6)


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["--produce", bootstrap]:
            asyncio.run(produced(bootstrap, RATE))
        case ["--beside", stages]:
            with tempfile.TemporaryDirectory(prefix="bench-check-") as name:
                print(json.dumps(beside(Path(name) / "stack", stages.split(","))))
        case ["--memory", scopes]:
            print(json.dumps(memory(int(scopes))))
        case _:
            with tempfile.TemporaryDirectory(prefix="bench-check-") as name:
                print(json.dumps(measure(Path(name) / "stack")))


if __name__ == "__main__":
    main(sys.argv[1:])
