"""Secrets by reference, read when they are needed, so that a rotated one counts at once; and kept out of everything else."""

import os
from collections.abc import Iterable
from pathlib import Path

MOST = 16_384  # bytes of a secret's file
SHORTEST = 4  # characters: what is shorter hides in any word


class SecretMissing(Exception):
    """A reference leads nowhere; the message names it, not what it should hold."""


def resolve(reference: str) -> str:
    """What `env:NAME` or `file:/path` holds, without the line break at its end; anything else is itself."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name, "")
        if not found:
            raise SecretMissing(f"{reference}: is not set where the stage notify runs; set it, or mend the catalog")
        return found
    if kind == "file":
        try:
            with Path(name).open("rb") as file:
                found = file.read(MOST).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise SecretMissing(f"{reference}: {str(why).lower()}; mend the file, or the catalog") from None
        if not found:
            raise SecretMissing(f"{reference}: is empty; write the secret there")
        return found
    return reference


def redact(text: str, secrets: Iterable[str]) -> str:
    """Text without any of the secrets, also as they look when something quotes them."""
    for secret in sorted({form for s in secrets for form in _forms(s)}, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def _forms(secret: str) -> set[str]:
    forms = {secret, secret.strip(), repr(secret)[1:-1], *secret.split("/")[-1:]}
    return {form for form in forms if len(form) >= SHORTEST}
