"""Text of catalog files in, a validated catalog out; an error names the file, the line and the remedy. Reads no files."""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from streams.catalog.models import Catalog
from streams.catalog.validate import CatalogError, problems


def _read(name: str, text: str) -> dict[str, Any]:
    if not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text):
        raise CatalogError(f"{name}: is not UTF-8; save it as UTF-8")
    try:
        found = tomllib.loads(text) if name.endswith(".toml") else yaml.safe_load(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{name}: {error}; mend the TOML") from error
    except yaml.YAMLError as error:
        raise CatalogError(f"{name}: {error}; mend the YAML") from error
    if not isinstance(found, dict):
        raise CatalogError(f"{name}: holds no table; start with [[prices]] or [[budgets]]")
    return found


def _heads(text: str) -> dict[str, list[int]]:
    """The lines on which the entries of each [[section]] start."""
    found = defaultdict[str, list[int]](list)
    for i, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("[[") and bare.endswith("]]"):
            found[bare[2:-2]].append(i)
    return found


def _line(text: str, section: str, index: int, key: str = "") -> int:
    """The line of `key` in the index-th [[section]], else where that starts, else 1."""
    heads = _heads(text).get(section, [])
    if index >= len(heads):
        return 1
    start = heads[index]
    for i, line in enumerate(text.splitlines()[start:], start + 1):
        if line.lstrip().startswith("["):
            break
        if key and line.split("=")[0].strip() == key:
            return i
    return start


def _slip(name: str, text: str, error: Any) -> str:
    """`file:line: where: what, value` of one of pydantic's errors."""
    section, *rest = error["loc"]
    index = rest[0] if rest and isinstance(rest[0], int) else 0
    keys = [str(k) for k in rest[1:] if isinstance(k, str)]
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    if error["type"] not in ("value_error", "missing") and isinstance(value, str | int | float):
        message += f", not {value!r}"  # our own messages hold it already
    where = ".".join(map(str, error["loc"]))
    return f"{name}:{_line(text, str(section), index, keys[0] if keys else '')}: {where}: {message}"


def alone(own: Catalog) -> Catalog:
    """Over nothing else."""
    return own


def parse_files(files: Mapping[str, str], over: Callable[[Catalog], Catalog] = alone) -> Catalog:
    """One catalog of several files; sections of the same name are joined. CatalogError names every slip at once.

    over: what it is used with, such as the base prices; judged together, since an alias or a factor may be for one of theirs
    """
    joined: dict[str, list[Any]] = {}
    errors, places = list[str](), dict[str, list[str]]()
    for name, text in files.items():
        sections = _read(name, text)
        try:
            Catalog.model_validate(sections)
        except ValidationError as error:
            errors += [_slip(name, text, e) for e in error.errors()]
            continue
        heads = _heads(text)  # once: a price list has a hundred thousand entries
        for section, items in sections.items():
            joined.setdefault(section, []).extend(items)
            lines = heads.get(section, [])
            lines += [1] * (len(items) - len(lines))
            places.setdefault(section, []).extend(f"{name}:{line}" for line in lines[: len(items)])
    if errors:
        raise CatalogError("\n".join(errors))
    catalog = Catalog.model_validate(joined)
    if found := problems(over(catalog)):
        raise CatalogError("\n".join(_placed(found, catalog, places)))
    return catalog


def _placed(found: list[str], catalog: Catalog, places: Mapping[str, list[str]]) -> list[str]:
    """Problems of the whole with the file and line of the entry that they name first."""
    where = dict[str, str]()
    for section, lines in places.items():
        for entry, place in zip(getattr(catalog, section), lines, strict=True):
            for attribute in ("price_id", "rate_id", "id", "alias", "model"):
                if name := getattr(entry, attribute, None):
                    where.setdefault(f"{section} {name}", place)
                    break
    placed = []
    for problem in found:
        names = [n for n in where if problem.startswith(n) and problem[len(n) : len(n) + 1] in (":", ",", " ")]
        placed.append(f"{where[max(names, key=len)]}: {problem}" if names else problem)
    return placed
