"""Verbs that need no stack: what they print, how they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.catalog.validate import CatalogError
from streams.cli import main
from streams.resources import catalog_folder
from tests.support.events import event

if not main.app.registered_commands:
    main.mount()
run = CliRunner()


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(path)


def test_every_verb_has_help_with_an_example() -> None:
    for verb in main.VERBS:
        names = {"up": ["up", "down"], "rerate": ["rerate", "void"]}.get(verb, [verb])
        for name in names:
            said = run.invoke(main.app, [name, "--help"])
            assert said.exit_code == 0
            assert "Example: usage-streams" in " ".join(said.output.split()), name


def test_every_verb_of_a_group_has_help_with_an_example() -> None:
    groups = {g.name: g.typer_instance for g in main.app.registered_groups}
    for group in ("alerts", "exceptions"):
        for command in groups[group].registered_commands:  # type: ignore[union-attr]  # there is one
            said = run.invoke(main.app, [group, command.name or "", "--help"])
            assert f"Example: usage-streams {group} {command.name}" in " ".join(said.output.split()), command.name


def test_init_writes_a_catalog_that_prices_its_first_event_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = str(tmp_path / "catalog")
    assert run.invoke(main.app, ["init", folder]).exit_code == 0

    priced = run.invoke(main.app, ["price", f"{folder}/first-event.jsonl", "--catalog", folder])
    again = run.invoke(main.app, ["init", folder])

    found = json.loads(priced.output)
    assert (found["pricing_status"], found["effective_cost"], found["currency"]) == ("priced", "0.0009", "USD")
    assert found["quantities"] == {"input_uncached": 1200, "output_visible": 300}
    assert found["lacks"] == [
        "application", "owner", "environment", "cost_center", "use_case", "business_process", "request_type"
    ]  # fmt: skip
    assert again.exit_code == 2
    assert "is not empty" in again.stderr


def test_a_file_that_is_not_there_is_one_line_with_a_remedy() -> None:
    command = [sys.executable, "-m", "streams.cli.main", "price", "nowhere.jsonl"]

    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert said.returncode == 2
    assert said.stderr == "usage-streams: nowhere.jsonl: no such file or directory; give a file that can be read\n"


def test_price_says_that_the_meter_would_refuse_an_event(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "e.jsonl", event(1, event_time=1_790_000_000_000))
    (tmp_path / "r.toml").write_text(
        '[[requirements]]\ntenant = "acme"\nrequired = ["data_class"]\non_breach = "dead_letter"\n'
    )

    said = run.invoke(main.app, ["price", file, "--json", "--catalog", str(tmp_path)])

    assert said.exit_code == 1
    assert "lacks data_class; the meter dead-letters it" in said.stderr
    assert json.loads(said.stdout)["pricing_status"] == "priced"


def test_price_names_wrong_lines_and_prices_their_neighbours(tmp_path: Path) -> None:
    now = 1_790_000_000_000
    file = jsonl(
        tmp_path / "e.jsonl", event(1, event_time=now), "{nonsense", event(2, event_time=now, model="unheard-of")
    )

    said = run.invoke(main.app, ["price", file, "--json"])

    first, second = (json.loads(line) for line in said.stdout.splitlines())
    assert said.exit_code == 1
    assert said.stderr.startswith("line 2: ")
    assert first["pricing_status"] == "priced"
    assert (second["pricing_status"], second["effective_cost"]) == ("unpriced", None)


def test_what_was_served_at_another_tier_is_never_rated_as_standard(tmp_path: Path) -> None:
    now = 1_790_000_000_000
    file = jsonl(
        tmp_path / "e.jsonl",
        event(1, event_time=now, service_tier="flex"),
        event(2, event_time=now, service_tier="default"),
    )

    said = run.invoke(main.app, ["price", file, "--json"])

    assert [json.loads(line)["pricing_status"] for line in said.stdout.splitlines()] == ["unpriced", "priced"]


def test_an_explanation_names_the_entry_those_rejected_and_the_remedy(tmp_path: Path) -> None:
    now = 1_790_000_000_000
    file = jsonl(tmp_path / "e.jsonl", event(1, event_time=now), event(2, event_time=now, service_tier="scale"))

    people, machines = (run.invoke(main.app, ["price", file, "--explain", *more]).stdout for more in ([], ["--json"]))

    assert "gpt-5.2 is the name of a priced model, it means openai/gpt-5.2" in people
    assert "because: the only entry that holds" in people
    assert "standard: the event is scale" in people
    assert 'service_tier = "scale"' in people
    first, second = (json.loads(line)["explained"] for line in machines.splitlines())
    assert first["sale"]["service_tier"] == {"value": "standard", "source": "assumed: nothing says it"}
    assert first["lines"][0]["chosen"][0]["price_id"].startswith("openai/gpt-5.2/input_uncached@")
    assert second["lines"][0]["chosen"] == []
    assert second["lines"][0]["remedy"].startswith("# an own list price replaces")


def test_an_explanation_says_that_the_response_decided_the_tier(tmp_path: Path) -> None:
    block = '{"input_tokens": 10, "output_tokens": 0, "service_tier": "priority"}'
    said = {"provider": "anthropic", "model": "claude-haiku-4-5", "usage_dialect": "anthropic.messages"}
    file = jsonl(
        tmp_path / "e.jsonl",
        event(1, event_time=1_790_000_000_000, usage_json=block, service_tier="standard", **said),
    )

    found = json.loads(run.invoke(main.app, ["price", file, "--explain", "--json"]).stdout)

    assert found["explained"]["sale"]["service_tier"] == {"value": "priority", "source": "response block"}


def test_a_catalog_with_a_slip_is_refused_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "budgets.toml").write_text(
        '[[budgets]]\nid = "b"\nlimit = 0.5\nperiod = { kind = "rolling", size = "1h" }\n'
    )

    said = run.invoke(main.app, ["price", jsonl(tmp_path / "e.jsonl", event(1)), "--catalog", str(tmp_path)])

    assert "budgets.toml:3: budgets.0.limit: money is a float: 0.5" in str(said.exception)


@pytest.mark.parametrize("name", ["", "nonsense"])
def test_query_lists_the_questions_or_says_which_there_are(name: str) -> None:
    said = run.invoke(main.app, ["query", *([name] if name else [])])

    assert "cost_by_team" in said.output + said.stderr
    assert said.exit_code == (2 if name else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerate"], "--from and --to are missing; or take --unpriced, or --resume"),
        (["rerate", "--from", "yesterday", "--to", "2026-12-01"], "yesterday: is no time; write 2026-11-24"),
        (["rerate", "--from", "2026-12-01", "--to", "2026-12-01"], "its end is not after its start"),
        (["rerate", "--unpriced", "--apply"], "--reason is missing; say why, it stays with every row that is changed"),
        (["void"], "--where is missing; say which usage was wrong"),
        (["void", "--where", "team"], "team: write it as field=value"),
        (["void", "--where", "1=1 OR team=x"], "field 1: cannot be chosen by; take one of tenant_id, event_id"),
    ],
)
def test_a_correction_that_is_not_said_whole_is_refused_before_anything_is_asked(
    arguments: list[str], message: str
) -> None:
    said = run.invoke(main.app, arguments)

    assert said.exit_code == 2
    assert message in " ".join(said.output.replace("│", " ").split())


def test_every_verb_of_catalog_has_help_with_an_example() -> None:
    for name in ("lint", "update", "diff", "show", "log"):
        said = run.invoke(main.app, ["catalog", name, "--help"])
        assert f"Example: usage-streams catalog {name}" in " ".join(said.output.split())


def test_the_example_catalog_has_nothing_to_mend_but_says_what_it_hides() -> None:
    said = run.invoke(main.app, ["catalog", "lint", str(catalog_folder())])

    assert {line.partition(":")[0] for line in said.stdout.splitlines()} <= {"note", "warning"}  # stale by the clock
    assert "no price for" not in said.stdout
    assert "own prices hide" in said.stdout


def test_lint_lists_every_slip_of_a_catalog_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[prices]]\nunit_price = 0.5\n[[budgets]]\nid = "B"\n')

    said = run.invoke(main.app, ["catalog", "lint", str(tmp_path), "--json"])

    found = json.loads(said.stdout)["findings"]
    assert said.exit_code == 1
    assert {f["kind"] for f in found} == {"problem"}
    assert any("money is a float: 0.5" in f["said"] for f in found)


def test_lint_lists_where_another_list_disagrees(tmp_path: Path) -> None:
    theirs = tmp_path / "list.json"
    theirs.write_text('{"gpt-5-mini": {"litellm_provider": "openai", "input_cost_per_token": 5e-07}}')

    said = run.invoke(main.app, ["catalog", "lint", str(catalog_folder()), "--against", str(theirs), "--json"])

    [row] = json.loads(said.stdout)["different"]
    assert said.exit_code == 1
    assert (row["bucket"], row["ours"], row["theirs"], row["ratio"]) == (
        "input_uncached", "0.00000025", "0.0000005", "2.0000"
    )  # fmt: skip


def test_show_says_what_a_model_costs_by_any_of_its_names_and_that_a_stranger_has_no_price() -> None:
    asked = ["catalog", "show", "--catalog", str(catalog_folder()), "--json", "--provider", "openai", "--model"]

    known = json.loads(run.invoke(main.app, [*asked, "gpt-4o-2024-08-06"]).stdout)
    unknown = run.invoke(main.app, [*asked, "unheard-of"])

    assert {"input_uncached", "output_visible"} <= {p["bucket"] for p in known}
    assert (unknown.exit_code, json.loads(unknown.stdout)) == (1, [])
    assert "no price in force" in unknown.stderr


def test_an_alias_or_a_factor_may_be_for_a_base_price_and_is_judged_with_it(tmp_path: Path) -> None:
    alias = '[[aliases]]\nprovider = "openai"\nalias = "ours"\nmodel = "gpt-5-mini"\n'
    factor = (
        '[[factors]]\nid = "huge"\nkind = "contract"\ntenant = "acme"\nprovider = "openai"\nmodel = "gpt-5-mini"\n'
        'multiplier = "100000000000000"\neffective_from = 2026-01-01T00:00:00Z\nsource = "a slip"\n'
    )
    event = {
        "event_id": "e1",
        "tenant_id": "acme",
        "event_time": "2026-06-01T00:00:00Z",
        "provider": "openai",
        "model": "ours",
    }
    used = {"usage_dialect": "openai.chat", "usage_json": {"prompt_tokens": 4, "completion_tokens": 0}}
    file, folder = tmp_path / "events.jsonl", tmp_path / "catalog"
    file.write_text(json.dumps(event | used))
    folder.mkdir()

    (folder / "a.toml").write_text(alias)
    priced = run.invoke(main.app, ["price", f"{file}", "--catalog", f"{folder}", "--json"])
    (folder / "a.toml").write_text(alias + factor)
    with pytest.raises(CatalogError) as refused:
        run.invoke(main.app, ["price", f"{file}", "--catalog", f"{folder}"], catch_exceptions=False)

    assert json.loads(priced.stdout)["effective_cost"] == "0.000001"
    assert str(refused.value).startswith("a.toml:5: factors huge: makes ")
