"""Forward-only migrations: each runs once, is recorded with its sha256, and is never edited once released."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from streams.resources import sql_folder

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrationError(Exception):
    """A migration is not what was released or applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; its statements end with `;` at the end of a line."""

    version: int
    name: str
    sha256: str
    text: str

    def statements(self) -> list[str]:
        code = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("--"))
        return [s.strip() for s in re.split(r";[ \t]*(?:\n|\Z)", code) if s.strip()]


def migrations(folder: Path | None = None) -> list[Migration]:
    """Every migration in order; MigrationError when one differs from its pinned sha256."""
    where = folder or sql_folder()
    pairs = (line.split() for line in (where / "migrations.sha256").read_text().splitlines())
    pins = {name: digest for digest, name in pairs}
    found = []
    for path in sorted(where.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"migration {path.name}: the name is not NNNN_verb_object.sql; rename it")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if pins.get(path.name) != digest:
            raise MigrationError(
                f"migration {path.name}: differs from migrations.sha256; undo the edit and add a new migration"
            )
        found.append(Migration(int(match[1]), path.name, digest, data.decode()))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations {[m.version for m in found]}: not 1, 2, 3, ...; renumber the new ones")
    return found


def migrate(client: Client, folder: Path | None = None) -> list[str]:
    """Apply what is not applied yet; the names of those applied now. Every statement may run again after a crash."""
    client.command("CREATE DATABASE IF NOT EXISTS usage")
    client.command(
        "CREATE TABLE IF NOT EXISTS usage.schema_migrations (version UInt32, name String, sha256 String,"
        " applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY version"
    )
    applied = _applied(client)
    known = migrations(folder)
    if newer := sorted(set(applied) - {m.version for m in known}):
        raise MigrationError(f"migration {newer[-1]}: applied, but unknown to this version; upgrade this program")
    done = []
    for migration in known:
        before = applied.get(migration.version)
        if before is None:
            for statement in migration.statements():
                client.command(statement)
            client.command(
                "INSERT INTO usage.schema_migrations (version, name, sha256)"
                " VALUES ({version:UInt32}, {name:String}, {sha256:String})",
                parameters={"version": migration.version, "name": migration.name, "sha256": migration.sha256},
            )
            done.append(migration.name)
        elif before != migration.sha256:
            raise MigrationError(f"migration {migration.name}: was applied with other content; restore that file")
    return done


def _applied(client: Client) -> dict[int, str]:
    rows = client.query("SELECT version, sha256 FROM usage.schema_migrations FINAL").result_rows
    return {int(version): str(digest) for version, digest in rows}


def pending(client: Client, folder: Path | None = None) -> list[str]:
    """What `migrate` would apply; changes nothing."""
    there = client.query("SELECT count() FROM system.tables WHERE database = 'usage' AND name = 'schema_migrations'")
    applied = _applied(client) if there.result_rows[0][0] else {}
    return [m.name for m in migrations(folder) if m.version not in applied]
