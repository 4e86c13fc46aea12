"""Signed links: one act on one thing by one person, until a moment. Whoever holds the link may do that, and nothing else.

The path is relative, `/v1/links/TOKEN`: whoever sends it knows under which name the API is reached.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from itsdangerous import BadSignature, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from streams.settings import SettingsError

Act = Literal["approve", "deny", "ack"]
SALT = "streams.links.v2"  # v1 did not say who signed
DEFAULT_SECONDS, MOST_SECONDS = 86_400, 30 * 86_400
LEAST_SECRET = 16


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """act: what it does; id: of the request or alert; by: who does it; signer: who vouches for them; seconds: how long.

    opened: since when the alert was open; open since another moment it is no longer what the link was made for
    """

    act: Act
    id: str
    by: str
    signer: str
    seconds: int = DEFAULT_SECONDS
    opened: str = ""


class LinkUnusable(Exception):
    """Forged, cut off, or expired; the message says which."""


def secrets_of(reference: str) -> list[str]:
    """The secrets that `env:NAME` or `file:/path` holds, one a line, the newest last; none for an empty reference."""
    if not reference:
        return []
    kind, _, name = reference.partition(":")
    try:
        text = os.environ[name] if kind == "env" else Path(name).read_text() if kind == "file" else None
    except (KeyError, OSError) as error:
        raise SettingsError(
            f"link_secret {reference}: cannot be read ({type(error).__name__}); set it there"
        ) from error
    if text is None:
        raise SettingsError("link_secret: is no reference; write env:NAME or file:/path, never the secret itself")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found or min(map(len, found)) < LEAST_SECRET:
        raise SettingsError(
            f"link_secret {reference}: needs a secret of {LEAST_SECRET} signs or more a line; write one"
        )
    return found


class Links:
    """Signs and reads links."""

    def __init__(self, secrets: list[str], now: Callable[[], float] = time.time) -> None:
        class Clocked(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(now())

        self._signer = URLSafeTimedSerializer(secrets, salt=SALT, signer=Clocked) if secrets else None

    def __bool__(self) -> bool:
        return self._signer is not None

    def path(self, link: Link) -> str:
        """Where it leads. ValueError when there is no secret, or it would hold too long."""
        if self._signer is None:
            raise ValueError("links: there is no secret; set USAGE_STREAMS_LINK_SECRET to env:NAME or file:/path")
        if not 0 < link.seconds <= MOST_SECONDS:
            raise ValueError(f"link: holds {link.seconds} s; give 1 to {MOST_SECONDS}")
        return f"/v1/links/{self._signer.dumps(list(msgspec.structs.astuple(link)))}"

    def read(self, token: str) -> Link:
        """What a link is for. LinkUnusable."""
        if self._signer is None:
            raise LinkUnusable("link: this API has no secret, so it verifies none")
        try:
            values = self._signer.loads(token, max_age=MOST_SECONDS)
            link = msgspec.convert(dict(zip(Link.__struct_fields__, values, strict=True)), Link)
            self._signer.loads(token, max_age=link.seconds)
            return link
        except SignatureExpired as error:
            raise LinkUnusable("link: has expired; ask for another one") from error
        except (BadSignature, ValueError, TypeError) as error:
            raise LinkUnusable("link: is not one of ours, or was cut off; open it as it was sent") from error
