"""The bench of the watch, with few scopes: it runs as its page says, and finds every scope again. No figure is judged."""

import json
import subprocess
import sys

SCOPES = 4_000


def test_the_bench_of_the_watch_knows_all_scopes_again_from_its_file_and_from_the_log() -> None:
    command = [sys.executable, "-m", "tests.bench.watch", str(SCOPES)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: part["scopes"] for name, part in found.items()} == dict.fromkeys(
        ("take", "from_file", "from_log"), SCOPES
    )
    assert all(found["take"][turn]["scopes_per_s"] > 0 for turn in ("first", "again"))
