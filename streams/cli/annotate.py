"""`usage-streams annotate`: post a deploy, a prompt version, an incident, so that a spike can be explained."""

from datetime import UTC
from pathlib import Path
from typing import Any

import typer

from streams.cli.running import find_settings
from streams.cli.watching import BOOTSTRAP, BY, DATA, JSON, TENANT, Seen, ask, asker, check_rules, pairs, say
from streams.jobs import commands as job
from streams.watch.commands import Annotate


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("annotate")
    def command(
        text: str = typer.Argument(help="What happened, in a sentence."),
        kind: str = typer.Option("other", "--type", help="deploy, prompt_version, incident or other."),
        at: str | None = typer.Option(None, help="When, 2026-12-01T12:00:00Z; now if left out."),
        where: list[str] = typer.Option([], help="dimension=value that it is about; repeatable, none = everybody."),
        rule: list[str] = typer.Option([], help="Rule that it is about, by id; repeatable."),
        link: str = typer.Option("", help="Where more is said."),
        name: str | None = typer.Option(
            None, "--id", help="Its name, such as the number of the build: posted twice it is one."
        ),
        by: str = BY,
        tenant: str | None = TENANT,
        as_json: bool = JSON,
        bootstrap: str | None = BOOTSTRAP,
        data: Path | None = DATA,
    ) -> None:
        """Post what happened beside the figures: a deploy, a prompt version, an incident.

        Example: [bold]usage-streams annotate 'search-agent 1.4.0' --type deploy --where agent_id=search --id build-812[/bold]
        """
        who = asker(by, tenant)
        match = {"where": pairs(where), "rules": rule, "tenant": tenant or "*"}
        fields: dict[str, Any] = {"id": name, "type": kind, "text": text, "moment": at, "match": match, "link": link}

        def annotation(seen: Seen) -> Annotate:
            check_rules(seen, rule)
            return job.annotate(who, fields)

        asked = ask(find_settings(bootstrap, None, data), annotation, alerts=bool(rule), catalog=bool(rule))
        found = asked.annotation_id  # type: ignore[union-attr]
        when = f"{asked.moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"  # type: ignore[union-attr]
        say(asked, f"annotation {found}: {kind} at {when}", as_json)
