"""`usage-streams apply PATH`: check a catalog folder, show what would change, publish it as one version."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer

from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.decided import Decided
from streams.catalog.lint import hidden
from streams.catalog.models import Catalog
from streams.catalog.parse import NAMED_BY, alone, parse_files
from streams.catalog.update import standing_base
from streams.cli.consent import must_ask, refuse
from streams.cli.running import find_settings, user
from streams.cli.screen import cleaned, tell
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog, PublishConflict
from streams.kafka.client import KafkaClient
from streams.settings import Settings

MOST_SHOWN = 20  # changes of one section
MOST_SIGNS = 80  # of a value
FIRST_EVENT = """\
send a first event:
  echo '{"event_id": "first", "tenant_id": "acme", "event_time": "'$(date -u +%FT%TZ)'", "provider": "openai",
    "model": "gpt-5-mini", "usage_dialect": "openai.chat", "usage_json": {"prompt_tokens": 1200, "completion_tokens": 300}}' |
    tr -d '\\n' | usage-streams emit -"""


def read_folder(folder: Path, over: Callable[[Catalog], Catalog] = with_base) -> Catalog:
    """The catalog in a folder of TOML and YAML files, that is used over the base prices; CatalogError names file and line."""
    names = sorted(p for p in folder.rglob("*") if p.suffix in (".toml", ".yaml", ".yml"))
    if not names:
        raise FileNotFoundError(f"catalog {folder}: no .toml or .yaml file there; `usage-streams init DIR` writes one")
    return parse_files({str(p.relative_to(folder)): p.read_text(errors="surrogateescape") for p in names}, over)


def plan(old: Catalog | None, new: Catalog) -> list[str]:
    """What would change, a line a kind of thing: `prices: +3 -1`."""
    lines = []
    for name in type(new).model_fields:
        after, before = getattr(new, name), getattr(old, name) if old else ()
        if not isinstance(after, tuple | list):
            continue
        a, b = ({json.dumps(x.model_dump(mode="json"), sort_keys=True) for x in items} for items in (after, before))
        added, removed = a - b, b - a
        if added or removed:
            lines.append(f"{name}: +{len(added)} -{len(removed)}")
    return lines


def detailed(old: Catalog | None, new: Catalog) -> list[str]:
    """The same with what changes, `budgets: team-day limit 10 -> 12`; where that is much, such as at first, only counts."""
    lines = []
    for counts in plan(old, new):
        section = counts.partition(":")[0]
        found = list(_differences(_named(getattr(old, section) if old else ()), _named(getattr(new, section))))
        lines += [f"{section}: {one}" for one in found] if 0 < len(found) <= MOST_SHOWN else [counts]
    return lines


def _named(entries: Iterable[Decided]) -> dict[str, dict[str, Any]]:
    """Entries by the name that people know them by; of several of one name each has a number."""
    found = dict[str, dict[str, Any]]()
    for entry in entries:
        fields = entry.model_dump(mode="json")
        keys = (getattr(entry, key, None) for key in (*NAMED_BY, "tenant"))
        name = first = str(next(filter(None, keys), "entry"))
        number = 1
        while name in found:
            number += 1
            name = f"{first} ({number})"
        found[name] = fields
    return found


def _differences(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is gone, what is new, and of what stays the fields that differ."""
    yield from (f"- {name}" for name in old if name not in new)
    yield from (f"+ {name}" for name in new if name not in old)
    for name in (n for n in new if n in old):
        fields = (f for f in {**old[name], **new[name]} if old[name].get(f) != new[name].get(f))
        changed = [f"{f} {_short(old[name].get(f))} -> {_short(new[name].get(f))}" for f in fields]
        if changed:
            yield f"{name} {', '.join(changed)}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    said = value if isinstance(value, str) else json.dumps(value)
    return said if len(said) <= MOST_SIGNS else f"{said[:MOST_SIGNS]}..."


async def publish(
    settings: Settings,
    catalog: Catalog | Callable[[Catalog | None], Catalog],
    dry_run: bool,
    confirm: bool,
    describe: Callable[[Catalog | None, Catalog], list[str]] = detailed,
    reason: str = "",
) -> tuple[list[str], int | None]:
    """The plan, and the published sequence number (None when nothing was published). A function makes the catalog from the
    published one."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        await kafka.producer()
        log = CatalogLog(kafka.log(topics.CATALOG, 0))
        before = await log.refresh()
        found = log.get(before)
        current = found.catalog if found else None
        wanted = catalog(current) if callable(catalog) else catalog
        lines = describe(current, wanted)
        if dry_run or not lines:
            return lines, None
        if confirm and not typer.confirm(cleaned("\n".join([*lines, "publish?"]))):
            return lines, None
        return lines, await log.publish(wanted, expected=before, by=user(), reason=reason)
    finally:
        await kafka.close()


def based(own: Catalog, published: Catalog | None) -> Catalog:
    """Own entries over the base that is published: only `catalog update` moves it."""
    return with_base(own, standing_base(published, base_catalog()))


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("apply")
    def command(
        folder: Path = typer.Argument(help="Folder of the catalog."),
        dry_run: bool = typer.Option(False, help="Show what would change, publish nothing."),
        base: bool = typer.Option(True, help="Add the base prices of models that the catalog does not price."),
        yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask; needed where no terminal is."),
        reason: str = typer.Option("", help="Why, for `usage-streams catalog log`."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
    ) -> None:
        """Publish a catalog. Example: [bold]usage-streams apply deploy/catalog[/bold]"""
        own = read_folder(folder, with_base if base else alone)
        catalog = partial(based, own) if base else own
        confirm, settings = must_ask("apply", yes or dry_run), find_settings(bootstrap, None, data)
        try:
            lines, sequence = asyncio.run(publish(settings, catalog, dry_run, confirm, reason=reason))
        except PublishConflict as error:
            refuse(str(error), 1)
        tell("\n".join(lines) or "nothing changes")
        for finding in hidden(own, base_catalog(), datetime.now(UTC)) if base and lines else ():
            tell(f"note: {finding}")
        if sequence is not None:
            tell(f"published version {sequence} on {settings.bootstrap}")
            if sequence == 1:
                tell(FIRST_EVENT)
