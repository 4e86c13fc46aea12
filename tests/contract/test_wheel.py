"""The wheel is the product: what it holds, what it needs, and that it runs without the checkout."""

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from streams import __version__

ROOT = Path(__file__).parents[2]
HEAVY = ("polars", "pydantic", "faust", "clickhouse_connect", "typer", "msgspec")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def python(installed: Path, code: str, *flags: str) -> str:
    """What `code` prints where `streams` is the installed one."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"],
        cwd=installed,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_schemas_migrations_questions_catalog_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {
        "streams/py.typed",
        "streams/_bundled/avro/usage_event.avsc",
        "streams/_bundled/clickhouse/0001_create_rated_rows.sql",
        "streams/_bundled/clickhouse/migrations.sha256",
        "streams/_bundled/clickhouse/queries/cost_by_team.sql",
        "streams/_bundled/catalog/prices.toml",
        "streams/_bundled/examples/planned.toml",
        "streams/embedded/kafka-jars.lock",
        "streams/demo/data/SHA256SUMS",
    } <= names
    assert not [n for n in names if n.startswith("tests/") or n.endswith(".pyc")]


def test_a_producer_needs_aiokafka_and_fastavro_alone(wheel: Path) -> None:
    [meta] = [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith(".dist-info/METADATA")]
    headers = Parser().parsestr(zipfile.ZipFile(wheel).read(meta).decode())
    needs = [Requirement(text) for text in headers.get_all("Requires-Dist", [])]

    assert {r.name for r in needs if r.marker is None} == {"aiokafka", "fastavro"}
    assert {"worker", "embedded"} == set(headers.get_all("Provides-Extra", []))


def test_a_producer_loads_nothing_of_the_server(installed: Path) -> None:
    said = python(
        installed, "import streams.producer; print(streams.__file__, *sorted(sys.modules), sep='\\n')"
    ).splitlines()

    assert said[0].startswith(str(installed))
    assert not {*HEAVY} & {*said}


def test_the_command_finds_everything_without_the_checkout(installed: Path) -> None:
    said = python(
        installed,
        "from streams.resources import schema_text, catalog_folder\n"
        "from streams.warehouse.migrate import migrations\n"
        "from streams.cli.apply import read_folder\n"
        "from streams.demo.traces import requests\n"
        "print(len(schema_text('usage_event')) > 1000, migrations()[0].name, len(read_folder(catalog_folder()).prices) > 5,"
        " len(requests()))\n"
        "from streams.cli.main import main\n"
        "sys.argv = ['usage-streams', '--version']\n"
        "main()",
    )

    assert said.split() == ["True", "0001_create_rated_rows.sql", "True", "31397", __version__]
