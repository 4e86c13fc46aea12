"""Text of catalog files in, a validated catalog out; an error names the file, the line and the remedy. Reads no files."""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

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
    """`file:line: where: what is wrong; remedy` of one of pydantic's errors."""
    section, *rest = error["loc"]
    index = rest[0] if rest and isinstance(rest[0], int) else 0
    keys = [str(k) for k in rest[1:] if isinstance(k, str)]
    message = _said(error, str(section), keys)
    where = ".".join(map(str, error["loc"]))
    key = keys[0] if keys else message.partition(" ")[0]  # an entry's own checks begin with the key that is wrong
    return f"{name}:{_line(text, str(section), index, key)}: {where}: {message}"


def _said(error: Any, section: str, keys: list[str]) -> str:
    """What is wrong and what to do; pydantic's own words are for programmers."""
    value, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")  # our own, complete
        case "missing":
            return "is missing; add it"
        case "extra_forbidden" if not keys:
            return f"is no section; {_guess(section, Catalog.model_fields)}"
        case "extra_forbidden":
            entry = get_args(Catalog.model_fields[section].annotation)[0]
            return f"is no key of it; {_guess(keys[-1], getattr(entry, 'model_fields', ()) if len(keys) == 1 else ())}"
        case "tuple_type" if not keys:
            return f"is one table or a value; write each entry under [[{section}]]"
        case "tuple_type":
            return f"is no list: {value!r}; put it in brackets"
        case "union_tag_not_found":
            return f"{context['discriminator'].strip(chr(39))} is missing; add it"
        case "literal_error":
            return f"is {value!r}; write {context['expected']}"
        case "union_tag_invalid":
            return f"{context['discriminator'].strip(chr(39))} is {context['tag']!r}; write {context['expected_tags']}"
        case "timezone_aware":
            moment = f"{value:%Y-%m-%dT%H:%M:%S}" if isinstance(value, date) else str(value)
            return f"{value} has no zone; write {moment}Z for UTC, or an offset in place of the Z"
        case "string_pattern_mismatch" if keys and keys[-1] == "currency":
            return f"is {value!r}; write its code in capitals, such as USD"
    shown = f", not {value!r}" if isinstance(value, str | int | float) else ""
    return f"{error['msg']}{shown}"


def _guess(word: str, known: Iterable[str]) -> str:
    """The remedy for a name that nobody knows."""
    near = get_close_matches(word, list(known), 1)
    return f"is it {near[0]}?" if near else "leave it out"


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
