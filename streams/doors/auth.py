"""Who asks, and what may they see and do? Tokens in a TOML file, of which only hashes are kept.

    [[tokens]]
    name = "gateway"                      # stands in the record of whatever it does
    hash = "sha256:..."                   # `usage-streams api --new-token gateway` makes both
    roles = ["check"]                     # read, check, operate (ack, silence, request), approve
    tenant = "acme"                       # "*" = every tenant
    where = { team = "search" }           # sees and acts on scopes of this team alone

Without a file the API serves loopback alone, and whoever reaches it may do everything; names of hosts are compared then, so
that a web page whose name resolves to loopback reaches nothing.
"""

import hashlib
import ipaddress
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError

from streams.catalog.decided import Decided
from streams.catalog.dimensions import Dimension
from streams.doors.problems import Problem
from streams.settings import SettingsError
from streams.watch.coverage import TENANT

log = structlog.get_logger()
Role = Literal["read", "check", "operate", "approve"]
ROLES: tuple[Role, ...] = ("read", "check", "operate", "approve")
EVERYBODY = "*"
LOCAL_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b"::1"})


class Token(Decided):
    """One entry of the file."""

    name: str = Field(min_length=1, max_length=128)
    hash: str = Field(pattern="^sha256:[0-9a-f]{64}$")
    roles: tuple[Role, ...] = Field(min_length=1)
    tenant: str = EVERYBODY
    where: dict[Dimension, str] = Field(default_factory=dict)


class Tokens(Decided):
    """The whole file."""

    tokens: tuple[Token, ...] = Field(min_length=1)


class Principal(Decided):
    """Whoever asks."""

    name: str
    roles: frozenset[Role]
    tenant: str = EVERYBODY
    where: dict[str, str] = Field(default_factory=dict)

    @property
    def is_limited(self) -> bool:
        return self.tenant != EVERYBODY or bool(self.where)

    def sees(self, tenant: str, dimensions: Mapping[str, str]) -> bool:
        """Is a scope with these dimensions, or whatever belongs to it, its own?"""
        return self.tenant in {EVERYBODY, tenant} and all(dimensions.get(n) == v for n, v in self.where.items())

    def allowed(self) -> str:
        """What it is limited to, for messages."""
        parts = [f"{n}={v}" for n, v in ((TENANT, self.tenant), *self.where.items()) if v != EVERYBODY]
        return ", ".join(parts)

    def confined(self, dimensions: Mapping[str, str]) -> dict[str, str]:
        """Dimensions of a question, with its own put in where it does not say; Problem where it asks for another's."""
        found = dict(dimensions)
        own = dict(self.where) if self.tenant == EVERYBODY else {TENANT: self.tenant, **self.where}
        for name, value in own.items():
            if found.setdefault(name, value) != value:
                raise Problem(403, f"{name} {found[name]}: this token is for {self.allowed()}; ask for that")
        return found


LOOPBACK = Principal(name="loopback", roles=frozenset(ROLES))


def read_tokens(path: Path) -> dict[str, Principal]:
    """hash -> who. SettingsError names the file and what is wrong in it."""
    try:
        found = Tokens.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise SettingsError(f"api_tokens {path}: {error.strerror}; give a file that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"api_tokens {path}: {error}; mend the TOML") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"api_tokens {path}: {where}: {first['msg']}; mend it") from error
    for double in _twice(t.name for t in found.tokens) + _twice(t.hash for t in found.tokens):
        raise SettingsError(f"api_tokens {path}: {double} is there twice; a token has its own name and hash")
    for _ in (t for t in found.tokens if t.name == LOOPBACK.name):
        raise SettingsError(f"api_tokens {path}: name {LOOPBACK.name} is whoever needs no token; take another name")
    return {
        t.hash.removeprefix("sha256:"): Principal(
            name=t.name, roles=frozenset(t.roles), tenant=t.tenant, where=dict(t.where)
        )
        for t in found.tokens
    }


def _twice(values: Iterable[str]) -> list[str]:
    seen = set[str]()
    return [v for v in values if v in seen or seen.add(v)]  # type: ignore[func-returns-value]  # add returns None


def new_token(name: str) -> tuple[str, str]:
    """A secret that is shown once, and the entry for the file."""
    secret = f"us_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, f'[[tokens]]\nname = "{name}"\nhash = "sha256:{digest}"\nroles = ["check"]\n'


def is_loopback(host: str) -> bool:
    """Does nobody outside this machine reach it there?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Lets requests in. A file that is changed is read again; one that cannot be used leaves the last one in force."""

    def __init__(self, path: Path | None, host: str) -> None:
        if path is None and not is_loopback(host):
            raise SettingsError(
                f"api_host {host}: is not loopback, and there are no tokens; set USAGE_STREAMS_API_TOKENS to a file of"
                " them, or listen on 127.0.0.1"
            )
        self._path = path
        self._tokens = read_tokens(path) if path else {}
        self._known: dict[bytes, Principal] = {}  # Authorization headers that were let in: at most one a token
        self._read_at = path.stat().st_mtime_ns if path else 0

    def look(self) -> None:
        """Read the file again if it was changed; called once in a while."""
        if self._path is None:
            return
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._read_at:
                return
            self._read_at = changed
            self._tokens = read_tokens(self._path)
            self._known.clear()
            log.info("tokens read again", file=str(self._path), tokens=len(self._tokens))
        except (OSError, SettingsError) as error:
            log.error("tokens cannot be read; the last ones stay in force", error=str(error))

    def who(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """headers: of an ASGI request, names in lower case. Problem 401 or 403 when nobody is let in."""
        authorization = host = b""
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"host":
                host = value
        if self._path is None:
            if host.rsplit(b":", 1)[0] not in LOCAL_HOSTS and host not in LOCAL_HOSTS:
                raise Problem(403, f"host {host.decode(errors='replace')}: without tokens only localhost is served")
            return LOOPBACK
        found = self._known.get(authorization)
        if found is None:
            scheme, _, secret = authorization.partition(b" ")
            found = (
                self._tokens.get(hashlib.sha256(secret.strip()).hexdigest()) if scheme.lower() == b"bearer" else None
            )
            if found is None:
                detail = "token is unknown" if authorization else "token is missing"
                raise Problem(
                    401,
                    f"{detail}; send `Authorization: Bearer TOKEN` with one of the file",
                    {"WWW-Authenticate": "Bearer"},
                )
            if len(self._known) < 2 * len(self._tokens):
                self._known[authorization] = found
        return found

    def allow(self, headers: Iterable[tuple[bytes, bytes]], role: Role) -> Principal:
        """Who it is, if that role is theirs; Problem 403 names the role."""
        found = self.who(headers)
        if role not in found.roles:
            raise Problem(403, f"token {found.name}: has no role {role}; ask whoever keeps the file of tokens")
        return found
