"""Tokens and addresses: what is refused at the start, in one line, and never a secret in it."""

import hashlib
from pathlib import Path

import pytest

from streams.doors.auth import Gate, is_loopback, new_token, read_tokens
from streams.doors.problems import Problem
from streams.links import Link, Links, LinkUnusable, secrets_of
from streams.settings import SettingsError

DIGEST = "sha256:" + "0" * 64


def test_a_new_token_is_what_its_entry_lets_in(tmp_path: Path) -> None:
    secret, entry = new_token("gateway")
    (tmp_path / "t.toml").write_text(entry)

    who = Gate(tmp_path / "t.toml", "0.0.0.0").who([(b"authorization", f"Bearer {secret}".encode())])

    assert (who.name, sorted(who.roles), who.is_limited) == ("gateway", ["check"], False)
    assert secret not in entry
    assert hashlib.sha256(secret.encode()).hexdigest() in entry


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens = 1", "tokens: "),
        ("[[tokens", "mend the TOML"),
        ("", "tokens: Field required"),
        ('[[tokens]]\nname = "a"\nhash = "secret"\nroles = ["read"]', "tokens.0.hash: "),
        (f'[[tokens]]\nname = "a"\nhash = "{DIGEST}"\nroles = ["root"]', "tokens.0.roles.0: "),
        (
            f'[[tokens]]\nname = "a"\nhash = "{DIGEST}"\nroles = ["read"]\nwhere = {{ teem = "x" }}',
            "tokens.0.where.teem",
        ),
        (f'[[tokens]]\nname = "a"\nhash = "{DIGEST}"\nroles = ["read"]\n' * 2, "a is there twice"),
        (
            f'[[tokens]]\nname = "loopback"\nhash = "{DIGEST}"\nroles = ["read"]',
            "name loopback is whoever needs no token; take another name",
        ),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)

    with pytest.raises(SettingsError) as refused:
        read_tokens(path)

    assert str(refused.value).startswith(f"api_tokens {path}: ")
    assert message in str(refused.value)


def test_a_file_of_tokens_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory; give a file that can be read"):
        read_tokens(tmp_path / "none.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])
def test_anywhere_but_loopback_tokens_are_asked_for_at_the_start(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match="is not loopback, and there are no tokens; set USAGE_STREAMS_API_TOKENS"):
        Gate(None, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_tokens(host: str) -> None:
    assert Gate(None, host).who([(b"host", b"localhost:8686")]).name == "loopback"


def test_hosts_are_compared_whole() -> None:
    for host in (b"localhost.evil.example", b"evil.example:127.0.0.1", b"", b"[::1]evil"):
        with pytest.raises(Problem, match="without tokens only localhost is served"):
            Gate(None, "127.0.0.1").who([(b"host", host)])


# secrets of links


def test_a_secret_is_a_reference_and_the_last_line_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = "o" * 20, "n" * 20
    (tmp_path / "s").write_text(f"{old}\n{new}\n")
    monkeypatch.setenv("LINK_SECRET", new)
    before = Links([old]).path(Link("approve", "x-1", "cfo", "ann"))

    both = Links(secrets_of(f"file:{tmp_path / 's'}"))

    assert both.read(before.rpartition("/")[2]) == Link("approve", "x-1", "cfo", "ann")
    assert (
        Links(secrets_of("env:LINK_SECRET")).read(both.path(Link("ack", "a", "b", "c")).rpartition("/")[2]).act == "ack"
    )
    with pytest.raises(LinkUnusable, match="is not one of ours"):
        Links([new]).read(before.rpartition("/")[2])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hunter2-is-my-secret", "is no reference; write env:NAME or file:/path, never the secret itself"),
        ("env:NOBODY_SET_THIS", "cannot be read (KeyError); set it there"),
        ("file:/nowhere/at/all", "cannot be read (FileNotFoundError); set it there"),
        ("env:SHORT", "needs a secret of 16 signs or more a line"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_told(
    reference: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", "hunter2")

    with pytest.raises(SettingsError) as refused:
        secrets_of(reference)

    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_without_a_secret_there_are_no_links() -> None:
    with pytest.raises(ValueError, match="there is no secret; set USAGE_STREAMS_LINK_SECRET"):
        Links(secrets_of("")).path(Link("ack", "a", "b", "c"))
    with pytest.raises(LinkUnusable, match="it verifies none"):
        Links([]).read("x")
