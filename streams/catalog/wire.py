"""A catalog as bytes: canonical JSON, so that the same decisions always have the same version."""

import hashlib

from streams.catalog.models import Catalog


def dump(catalog: Catalog) -> bytes:
    """Canonical JSON; decimals are strings."""
    return catalog.model_dump_json(exclude_defaults=False).encode()


def load(body: bytes) -> Catalog:
    """The catalog that `dump` wrote."""
    return Catalog.model_validate_json(body)


def version_of(body: bytes) -> str:
    """Content address of a dumped catalog, 16 hex digits."""
    return hashlib.sha256(body).hexdigest()[:16]
