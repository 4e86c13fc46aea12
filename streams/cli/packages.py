"""Price lists of other packages: fetched by name with the ordinary client, without dependencies, into the cache."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streams.catalog import wire
from streams.catalog.models import Catalog
from streams.catalog.update import as_base
from streams.catalog.validate import CatalogError
from streams.outside import Away
from streams.resources import cache_folder

LIST = "model_prices_and_context_window_backup.json"
PATIENCE_SECONDS = 300
# Run beside the newer package: the same import code, the other data.
DUMP = """
import sys
from streams.catalog.base_prices import base_catalog
from streams.catalog.wire import dump
sys.stdout.buffer.write(dump(base_catalog()))
"""


class PackageAway(Away):
    """A package cannot be fetched, and none was fetched before."""


def fetched(name: str) -> Path:
    """A folder with the newest release of the package; the one that was fetched last when no client reaches a registry."""
    folder = cache_folder() / "packages" / name
    fresh = folder.with_name(f"{name}.{os.getpid()}")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    client = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--upgrade", "--target", str(fresh)]
    try:
        done = subprocess.run(
            [*client, *options, name], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        wrong = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        wrong = f"no answer within {PATIENCE_SECONDS} s"
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        return folder
    shutil.rmtree(fresh, ignore_errors=True)
    if folder.is_dir():
        return folder
    raise PackageAway(f"package {name}: cannot be fetched ({wrong.splitlines()[-1]}); name a file instead")


def litellm_list(where: str) -> dict[str, Any]:
    """LiteLLM's list with decimals: of a file, of the installed package, or of one that is fetched for it."""
    if where != "litellm":
        path = Path(where)
    elif spec := importlib.util.find_spec("litellm"):
        path = Path(spec.origin or "").parent / LIST
    else:
        path = fetched("litellm") / "litellm" / LIST
    try:
        found = json.loads(path.read_text(), parse_float=Decimal)
    except ValueError as error:
        raise CatalogError(f"{path}: {error}; give LiteLLM's price list as JSON") from error
    if not isinstance(found, dict):
        raise CatalogError(f"{path}: holds no table of models; give LiteLLM's price list as JSON")
    return found


def newer_base(where: str) -> Catalog:
    """Base prices of a dumped catalog, of a genai-prices wheel, or (`pypi`) of its newest release."""
    if where == "pypi":
        return wire.load(_data_of(fetched("genai-prices")))
    if where.endswith(".whl"):
        if not Path(where).is_file():
            raise FileNotFoundError(f"wheel {where}: is not there; name the wheel of genai-prices")
        return wire.load(_data_of(Path(where).resolve()))
    try:
        return as_base(wire.load(Path(where).read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise CatalogError(
            f"{where}: {place}: {first['msg']}; give a catalog as JSON, or a genai-prices wheel"
        ) from error


def _data_of(place: Path) -> bytes:
    """What our import makes of a genai-prices there: in a process of its own, since this one has loaded another."""
    done = subprocess.run(
        [sys.executable, "-c", DUMP], env=os.environ | {"PYTHONPATH": str(place)}, capture_output=True, check=False
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise CatalogError(f"genai-prices in {place}: cannot be read ({' '.join(last)}); upgrade this product")
    return done.stdout
