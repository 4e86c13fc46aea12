"""A usage event as Avro single-object bytes: what a Python producer needs, on fastavro alone."""

import io
from collections.abc import Mapping
from typing import Any

import fastavro
import fastavro.schema

SINGLE_OBJECT = b"\xc3\x01"


def fingerprint_of(schema: Any) -> bytes:
    """CRC-64-AVRO of the parsing canonical form; fastavro gives its hex digits in the order of the header's bytes."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


class Encoder:
    """Encodes events of one schema."""

    def __init__(self, schema: Any) -> None:
        self._schema = fastavro.parse_schema(schema)
        self._header = SINGLE_OBJECT + fingerprint_of(schema)

    def __call__(self, event: Mapping[str, Any]) -> bytes:
        """Bytes of the event; ValueError or TypeError when it does not fit the schema."""
        out = io.BytesIO()
        out.write(self._header)
        fastavro.schemaless_writer(out, self._schema, event)
        return out.getvalue()
