"""The rules of the house that no linter knows (CONVENTIONS C1, C22, C30)."""

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CORE = ("pipeline", "tokens", "catalog", "watch")
ALLOWED = {"polars", "numpy", "msgspec", "fastavro", "xxhash"}  # beside the standard library and each other
ONLY_IN_CATALOG = {"pydantic", "genai_prices", "yaml"}


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_the_core_imports_nothing_that_does_io() -> None:
    for part in CORE:
        allowed = ALLOWED | (ONLY_IN_CATALOG if part == "catalog" else set())
        for path in (ROOT / "streams" / part).rglob("*.py"):
            for name in imports_of(path):
                top = name.split(".")[0]
                if top == "streams":
                    assert name.split(".")[1] in (*CORE, "metrics") or name == "streams", f"{path}: {name}"
                else:
                    assert top in allowed or top in sys.stdlib_module_names, f"{path}: {name}"


def test_no_module_is_longer_than_400_lines() -> None:
    for path in (ROOT / "streams").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_every_module_says_what_it_is_for() -> None:
    for path in (ROOT / "streams").rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert not tree.body or ast.get_docstring(tree), path


def test_the_lock_holds_hashes_no_addresses_and_every_dependency() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *chain(*project["project"]["optional-dependencies"].values())]
    wanted += project["dependency-groups"]["dev"]
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", lock, re.MULTILINE))

    assert "://" not in lock
    assert lock.count("--hash=sha256:") > len(locked) > 50
    for requirement in wanted:
        one = Requirement(requirement)
        if one.marker is None or one.marker.evaluate():
            assert one.specifier.contains(locked[canonicalize_name(one.name)]), requirement


def files() -> Iterator[Path]:
    for folder, inside, names in os.walk(ROOT):
        inside[:] = [n for n in inside if not n.startswith(".") or n == ".ci"]
        yield from (Path(folder) / n for n in names if not n.endswith((".xz", ".pyc", ".so")))


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile("pypi\\.org|pythonhosted|repo1?\\.maven|npmjs\\.org|proxy\\.golang")
    named = [p.name for p in files() if hosts.search(p.read_text(errors="replace"))]

    assert named == ["test_house.py"]
