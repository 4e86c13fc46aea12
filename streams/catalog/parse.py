"""Text of catalog files in, a validated catalog out; an error names the file, the line and the remedy. Reads no files."""

import tomllib
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from streams.catalog.models import Catalog
from streams.catalog.validate import CatalogError, validated


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


def _line(text: str, section: str, index: int) -> int:
    """The line where the index-th [[section]] starts, or 1."""
    heads = [i for i, line in enumerate(text.splitlines(), 1) if line.strip() == f"[[{section}]]"]
    return heads[index] if index < len(heads) else 1


def parse_files(files: Mapping[str, str]) -> Catalog:
    """One catalog of several files; sections of the same name are joined. CatalogError names every slip at once."""
    joined: dict[str, list[Any]] = {}
    errors = []
    for name, text in files.items():
        sections = _read(name, text)
        try:
            Catalog.model_validate(sections)
        except ValidationError as error:
            for e in error.errors():
                section = str(e["loc"][0])
                index = e["loc"][1] if len(e["loc"]) > 1 and isinstance(e["loc"][1], int) else 0
                where = ".".join(map(str, e["loc"]))
                message = e["msg"].removeprefix("Value error, ")
                errors.append(f"{name}:{_line(text, section, index)}: {where}: {message}")
            continue
        for section, items in sections.items():
            joined.setdefault(section, []).extend(items)
    if errors:
        raise CatalogError("\n".join(errors))
    return validated(Catalog.model_validate(joined))
