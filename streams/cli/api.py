"""`usage-streams api`: serve checks, alerts and acts over HTTP."""

from pathlib import Path

import typer

from streams import logs
from streams.cli.running import find_settings
from streams.cli.screen import tell


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("api")
    def command(
        host: str | None = typer.Option(None, help="Where to listen; anywhere but loopback needs tokens."),
        port: int | None = typer.Option(None, help="Port; 0 takes a free one."),
        new_token: str = typer.Option(
            "", "--new-token", help="Print a token of this name and its entry for the file of tokens, then end."
        ),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
    ) -> None:
        """Serve the HTTP API. Example: [bold]usage-streams api --port 8686[/bold]"""
        if new_token:
            from streams.doors.auth import new_token as made

            secret, entry = made(new_token)
            typer.echo(f"# the token, shown this once: {secret}\n{entry}", nl=False)
            return
        from streams.doors.serving import serve

        settings = find_settings(bootstrap, None, data, api_host=host, api_port=port)
        logs.configure(settings.log_level)
        raise typer.Exit(serve(settings, lambda line: tell(line, err=True)))
