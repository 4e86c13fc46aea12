"""A catalog as bytes: canonical JSON, so that the same decisions always have the same version."""

import hashlib
import json
from collections.abc import Iterable

import msgspec

from streams.catalog.decided import PUBLISHED
from streams.catalog.models import Catalog

MANY = ("prices", "aliases")  # thousands of entries that are mostly defaults


def dump(catalog: Catalog) -> bytes:
    """Canonical JSON; decimals are strings."""
    whole = catalog.model_dump(mode="json", exclude=set(MANY))
    for section in MANY:
        whole[section] = [entry.model_dump(mode="json", exclude_defaults=True) for entry in getattr(catalog, section)]
    return json.dumps(whole, separators=(",", ":"), sort_keys=True).encode()


def load(body: bytes) -> Catalog:
    """The catalog that `dump` wrote."""
    return Catalog.model_validate_json(body, context=PUBLISHED)


def load_sections(body: bytes, names: Iterable[str]) -> Catalog:
    """The same of these sections alone; the others are not even looked at."""
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    wanted = {name: found[name] for name in names if name in found}
    return Catalog.model_validate_json(msgspec.json.encode(wanted), context=PUBLISHED)


def version_of(body: bytes) -> str:
    """Content address of a dumped catalog, 16 hex digits."""
    return hashlib.sha256(body).hexdigest()[:16]
