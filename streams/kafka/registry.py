"""Writer schemas of a Confluent schema registry: asked once an id, kept for ever, since an id never changes its schema."""

import json
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
import urllib3

from streams.outside import Away

log = structlog.get_logger()
AGAIN_SECONDS = 60.0  # after which an id that the registry did not know is asked again
UNKNOWN_MOST = 10_000


class RegistryAway(Away):
    """The schema registry does not answer: records wait, nothing is refused for it."""


class Registry:
    """One registry at `http(s)://[user:password@]host[:port]`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        login = f"{parts.username}:{parts.password or ''}" if parts.username else None
        self._http = urllib3.PoolManager(
            headers=urllib3.make_headers(basic_auth=login) | {"Accept": "application/json"},
            timeout=urllib3.Timeout(5.0),
            retries=urllib3.Retry(2, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504)),
        )
        self._unknown: dict[int, float] = {}

    def schema(self, number: int) -> Any | None:
        """The Avro schema of an id; None when the registry has none. RegistryAway when it cannot be asked."""
        if time.monotonic() < self._unknown.get(number, 0.0):
            return None
        try:
            answer = self._http.request("GET", f"{self._url}/schemas/ids/{number}")
        except urllib3.exceptions.HTTPError as error:
            raise RegistryAway(self._away(type(error).__name__)) from error
        if answer.status == 404:
            self._forget(number, "is unknown")
            return None
        if answer.status != 200:
            raise RegistryAway(self._away(f"answers {answer.status}"))
        found = answer.json()
        if found.get("schemaType", "AVRO") != "AVRO" or found.get("references"):
            self._forget(number, "is no Avro schema that stands alone")
            return None
        return json.loads(found["schema"])

    def _forget(self, number: int, why: str) -> None:
        if len(self._unknown) >= UNKNOWN_MOST:
            self._unknown.clear()
        self._unknown[number] = time.monotonic() + AGAIN_SECONDS
        log.warning("schema registry: an id cannot be used", id=number, why=why)

    def _away(self, why: str) -> str:
        return f"schema registry {self._host}: {why}; start it, or mend USAGE_STREAMS_REGISTRY_URL"
