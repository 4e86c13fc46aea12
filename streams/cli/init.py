"""`usage-streams init DIR`: a commented starter catalog, a first event, and a batch that raises a first alert."""

import json
import shutil
import time
from pathlib import Path

import typer

from streams.cli.screen import tell
from streams.resources import catalog_folder

FIRST = {
    "event_id": "first-1",
    "tenant_id": "acme",
    "provider": "openai",
    "model": "gpt-5-mini",
    "usage_dialect": "openai.chat",
    "usage_json": '{"prompt_tokens":1200,"completion_tokens":300,"total_tokens":1500}',
    "team": "search",
}
REQUESTS = 100  # of a batch that takes 34 of the 40 USD that the starter catalog gives a team a day
ALERT = {
    "usage_json": '{"prompt_tokens":1200,"completion_tokens":170000,"total_tokens":171200}',
    "application": "nightly",
}
NEXT = """\
catalog in {folder}: tenants, prices, budgets, rules; every file says what it is for
next:
  usage-streams up --detach                           # Kafka, ClickHouse, the stages and the API, here
  usage-streams apply {folder} --yes                  # --dry-run shows what it would publish
  usage-streams emit {folder}/first-event.jsonl
  usage-streams price {folder}/first-event.jsonl --catalog {folder}
  usage-streams emit {folder}/first-alert.jsonl       # a batch that brings team search to 85 % of its day
  usage-streams alerts list --tenant acme"""


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("init")
    def command(folder: Path = typer.Argument(help="A folder that is new or empty.")) -> None:
        """Write a starter catalog. Example: [bold]usage-streams init catalog[/bold]"""
        if folder.is_dir() and any(folder.iterdir()):
            tell(f"usage-streams: folder {folder}: is not empty; give a new one, nothing is overwritten", err=True)
            raise typer.Exit(2)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(catalog_folder().glob("*.toml")):
            shutil.copyfile(path, folder / path.name)
        event = FIRST | {"event_time": int(time.time() * 1000)}
        (folder / "first-event.jsonl").write_text(json.dumps(event) + "\n")
        batch = (event | ALERT | {"event_id": f"first-alert-{i}"} for i in range(1, REQUESTS + 1))
        (folder / "first-alert.jsonl").write_text("".join(json.dumps(one) + "\n" for one in batch))
        tell(NEXT.format(folder=folder))
