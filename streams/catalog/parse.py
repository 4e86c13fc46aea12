"""Text of catalog files in, a validated catalog out; an error names the file, the line and the remedy. Reads no files."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from streams.catalog.models import Catalog
from streams.catalog.places import Places, places_of
from streams.catalog.validate import CatalogError, problems

WORDS = re.compile(r"(\w+)(?:[^:;]*: (\w+))?")
NAMED_BY = ("price_id", "rate_id", "id", "alias", "model")  # what problems call an entry, the first that it has

_TIME = "a time of day, such as 22:00"
WRITTEN = {  # what has a pattern
    "currency": "its code in capitals, such as USD",
    "id": "small letters, digits and hyphens, such as team-search",
    "start": _TIME,
    "end": _TIME,
}


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


def _slip(name: str, places: Places, error: Any) -> str:
    """`file:line: where: what is wrong; remedy` of one of pydantic's errors."""
    section, *rest = error["loc"]
    keys = [str(k) for k in rest[1:] if isinstance(k, str)]
    message = _said(error, str(section), keys)
    # An entry's own checks begin with the key that is wrong, or with its id and then the key.
    words = WORDS.match(message) if error["type"] == "value_error" else None
    line = places.line(error["loc"], [w for w in words.groups() if w] if words else ())
    return f"{name}:{line}: {'.'.join(map(str, error['loc']))}: {message}"


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
        case "string_pattern_mismatch":
            return f"is {value!r}; write {WRITTEN.get(keys[-1] if keys else '', WRITTEN['id'])}"
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
    errors = list[str]()
    for name, text in files.items():
        sections = _read(name, text)
        try:
            Catalog.model_validate(sections)
        except ValidationError as error:
            where = places_of(name, text)
            errors += [_slip(name, where, e) for e in error.errors()]
            continue
        for section, items in sections.items():
            joined.setdefault(section, []).extend(items)
    if errors:
        raise CatalogError("\n".join(errors))
    catalog = Catalog.model_validate(joined)
    if found := problems(over(catalog)):
        raise CatalogError("\n".join(_placed(found, files)))
    return catalog


def _placed(found: list[str], files: Mapping[str, str]) -> list[str]:
    """Problems of the whole with the file and line of the entry that they name first; with its doubles' too."""
    where = defaultdict[str, list[str]](list)
    for name, text in files.items():
        own, places = Catalog.model_validate(_read(name, text)), places_of(name, text)
        for section in own.model_fields_set:
            entries, lines = getattr(own, section), places.heads(section)
            for i, entry in enumerate(entries):
                if key := next(filter(None, (getattr(entry, attribute, None) for attribute in NAMED_BY)), None):
                    where[f"{section} {key}"].append(f"{name}:{lines[i] if i < len(lines) else 1}")
    placed = []
    for problem in found:
        names = [n for n in where if problem.startswith(n) and problem[len(n) : len(n) + 1] in (":", ",", " ")]
        first, *others = where[max(names, key=len)] if names else [""]
        also = f" (also {', '.join(others)})" if others and "times" in problem else ""
        placed.append(f"{first}: {problem}{also}" if first else problem)
    return placed
