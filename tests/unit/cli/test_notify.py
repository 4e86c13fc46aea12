"""`notify test` sends from the shell where it is typed, so what is missing there is said of that shell."""

import pytest

from streams.catalog.routes import Endpoint
from streams.cli.notify import unset


def test_a_secret_that_this_shell_does_not_have_is_said_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Endpoint(id="hook", kind="webhook", url="https://acme.example/hook", secrets=("env:HOOK_SECRET",))
    monkeypatch.delenv("HOOK_SECRET", raising=False)

    assert unset(hook).startswith(
        "env:HOOK_SECRET: is not set in this shell, which sends the test; set it here, and before"
    )

    monkeypatch.setenv("HOOK_SECRET", "whsec_x")
    assert unset(hook) == ""
