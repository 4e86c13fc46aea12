"""`usage-streams estimate`: figures by hand, sums of files, and one clear line for what cannot be meant."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli import main
from streams.resources import examples_folder
from tests.support.events import event
from tests.unit.cli.test_verbs import jsonl

if not main.app.registered_commands:
    main.mount()
run = CliRunner()
DAY = ["--at", "2026-11-25"]
MINI = ["--model", "openai/gpt-5-mini", "--requests", "100000", "--input", "1200", "--output", "300", *DAY]


def workload(*arguments: str) -> Any:
    done = run.invoke(main.app, ["estimate", *arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    [found] = json.loads(done.stdout)["workloads"]
    return found


def totals(found: Any, kind: str = "contracted") -> dict[tuple[str, str], str | None]:
    return {(v["model"], v["variant"]): v[kind]["total"] for v in found["variants"]}


def test_a_workload_in_every_variant_on_every_model_side_by_side() -> None:
    found = workload(*MINI, "--cached", "60%", "--compare", "anthropic/claude-haiku-4-5", "--growth", "3x")

    mini, haiku = "openai/gpt-5-mini", "anthropic/claude-haiku-4-5"
    assert totals(found) == {
        (mini, "online"): "90",  # 100,000 x (1,200 x 0.25 + 300 x 2) / 1,000,000
        (mini, "cached"): "73.8",  # 720 x 0.025 + 480 x 0.25 + 600
        (mini, "batch"): "45",
        (mini, "batch, cached"): "36.9",
        (mini, "flex"): "45",
        (mini, "flex, cached"): "36.9",
        (haiku, "online"): "270",
        (haiku, "cached"): "205.2",
        (haiku, "batch"): "135",
        (haiku, "batch, cached"): "102.6",
        (haiku, "flex"): None,  # never a guess
        (haiku, "flex, cached"): None,
    }
    first = found["variants"][0]
    assert first["contracted"] == {"per_request": "0.0009", "per_1000": "0.9", "total": "90", "total_grown": "270"}
    assert found["variants"][2]["saved"] == "0.5"


def test_a_missing_price_is_said_and_named() -> None:
    said = run.invoke(main.app, ["estimate", *MINI[:1], "anthropic/claude-haiku-4-5", *MINI[2:]]).stdout

    assert "no price" in said
    assert "anthropic/claude-haiku-4-5 flex: no price in force: input_uncached, output_visible" in said
    assert "rounded for reading" in said


def test_a_tenant_pays_what_its_contract_says_and_the_list_price_stands_beside(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        '[[prices]]\nprovider = "openai"\nmodel = "m"\nbucket = "input_uncached"\nunit_price = "2"\n'
        'currency = "USD"\nsource = "test"\n'
        'effective_from = 2026-01-01T00:00:00Z\n[[factors]]\nid = "deal"\nkind = "contract"\nprovider = "openai"\n'
        'model = "*"\ntenant = "acme"\nmultiplier = "0.9"\neffective_from = 2026-01-01T00:00:00Z\nsource = "test"\n'
    )
    asked = ["--model", "openai/m", "--requests", "10", "--input", "5", "--catalog", str(tmp_path), *DAY]

    ours, anybody = workload(*asked, "--tenant", "acme"), workload(*asked)

    assert [totals(ours, kind)["openai/m", "online"] for kind in ("list", "contracted")] == ["100", "90"]
    assert totals(anybody)["openai/m", "online"] == "100"


def test_prices_of_another_day_hold_on_that_day() -> None:
    asked = [*MINI[:-1], "2026-10-01"]

    assert totals(workload(*asked))["openai/gpt-5-mini", "batch"] is None  # the source knows it from 2026-10-14 on


def test_capacity_says_from_which_utilisation_on_it_is_cheaper() -> None:
    spec = "hourly=6,units=1,tokens_per_minute=200000,hours=100"
    found = workload(*MINI, "--provisioned", spec, "--growth", "10x")

    now, grown = found["provisioned"]["uses"]
    # 150,000,000 of 1,200,000,000 tokens; 600 USD; as it goes 0.0009 for 1,500 tokens = 0.6 a million
    assert (now["utilisation"], now["per_million"], now["as_you_go"]) == ("0.125", "4", "0.6")
    assert now["break_even"].startswith("0.8333333333")  # 600 of the 720 USD that a full one would cost as it goes
    assert (grown["utilisation"], grown["spillover"], grown["total"]) == ("1", "0.2", "780")  # 300 million beyond


def test_capacity_at_a_utilisation_that_somebody_measured() -> None:
    spec = "hourly=6,tokens_per_minute=200000,hours=100,utilisation=50%"

    [use] = workload(*MINI, "--provisioned", spec)["provisioned"]["uses"]

    assert (use["utilisation"], use["per_million"]) == ("0.5", "1")


def test_the_example_profile_is_printed_and_works(tmp_path: Path) -> None:
    text = run.invoke(main.app, ["estimate", "--example"]).stdout
    (tmp_path / "planned.toml").write_text(text)

    found = run.invoke(main.app, ["estimate", "--profile", str(tmp_path / "planned.toml"), "--json", *DAY])

    assert text == (examples_folder() / "planned.toml").read_text()
    first, second = json.loads(found.stdout)["workloads"]
    assert (first["name"], totals(first)["openai/gpt-5-mini", "cached"]) == ("support answers", "73.8")
    assert Decimal(second["provisioned"]["uses"][0]["break_even"]) < 1


def test_a_file_is_summed_by_model_and_team_and_a_sum_that_lacks_a_part_is_none(tmp_path: Path) -> None:
    later = 2_000_000_000_000  # a plan lies in the future
    file = jsonl(
        tmp_path / "planned.jsonl",
        event(1, event_time=later),
        event(2, event_time=later, team="sales"),
        event(3, event_time=later, model="gpt-5-mini", team=None),
        event(4, event_time=later, model="unheard-of"),
        "{nonsense",
    )

    said = run.invoke(main.app, ["estimate", file, "--json", "--growth", "2x", "--compare", "openai/gpt-5"])

    assert said.exit_code == 1
    assert said.stderr.startswith("line 5: ")
    found = json.loads(said.stdout)
    whole = {(v["variant"], v["model"]): v for v in found["variants"]}
    plain, elsewhere = whole["as written", None], whole["as written", "openai/gpt-5"]
    assert (plain["events"], plain["without_price"], plain["contracted"]["total"]) == (4, 1, None)
    assert plain["by_model"]["openai/gpt-5.2"]["contracted"]["total"] == {
        "USD": "0.00091"
    }  # 2 x (100 x 1.75 + 20 x 14)
    assert plain["by_model"]["openai/gpt-5.2"]["contracted"]["total_grown"] == {"USD": "0.00182"}
    assert plain["by_team"]["sales"]["contracted"]["total"] == {"USD": "0.000455"}
    assert plain["by_team"]["(no team)"]["events"] == 1
    assert elsewhere["contracted"]["total"] == {"USD": "0.0013"}  # 4 x (100 x 1.25 + 20 x 10)
    assert list(elsewhere["by_model"]) == ["openai/gpt-5"]
    assert whole["batch", None]["contracted"]["priced_part"]["USD"]


def test_a_file_costs_what_price_says_it_costs(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "e.jsonl", *(event(n, event_time=1_790_000_000_000, model="gpt-5-mini") for n in range(20)))

    one_by_one = [json.loads(x)["effective_cost"] for x in run.invoke(main.app, ["price", file]).stdout.splitlines()]
    summed = json.loads(run.invoke(main.app, ["estimate", file, "--json"]).stdout)["variants"][0]

    assert Decimal(summed["contracted"]["total"]["USD"]) == sum(map(Decimal, one_by_one))


NONSENSE = [
    ([], "estimate: nothing to estimate; give a FILE, --model or --profile"),
    (["--model", "gpt-5-mini", "--requests", "1", "--input", "1"],
     "estimate: model: 'gpt-5-mini' names no provider; write provider/model, such as openai/gpt-5-mini"),
    (["--model", "openai/gpt-5-mni", "--requests", "1", "--input", "1"],
     "model openai/gpt-5-mni: openai has no model or alias gpt-5-mni; is it gpt-5-mini or"),
    ([*MINI, "--cached", "120%"], "estimate: cached: 120% is not between nothing and everything; give 0% to 100%"),
    ([*MINI, "--cached", "60"], "give 0% to 100%, such as 60%"),
    ([*MINI, "--cached", "lots"], "estimate: cached: 'lots' is no share; write 60% or 0.6"),
    ([*MINI[:-4], "--output", "-5"], "estimate: output: -5 is out of bounds; give 0 to 10^12"),
    ([*MINI, "--requests", "1.5"], "estimate: requests: '1.5' is no whole number; write digits such as 100_000"),
    ([*MINI, "--requests", "0"], "estimate: requests: 0 of them cost nothing; give at least 1"),
    (MINI[:2], "estimate: requests: is missing; add it"),
    (MINI[:4], "estimate: it uses nothing; give input, output or quantities"),
    ([*MINI, "--cached", "1E-400000000"], "cached: 1E-400000000 is finer than a millionth; give fewer digits"),
    ([*MINI, "--cached", "1E400000000"], "cached: 1E400000000 is not between nothing and everything; give 0% to 100%"),
    ([*MINI, "--cached", "NaN"], "cached: 'NaN' is no share; write 60% or 0.6"),
    ([*MINI, "--growth", "1E-400000000x"], "growth: 1E-400000000x is no factor; at most 18 digits after the point are kept"),
    ([*MINI, "--growth", "-2x"], "estimate: growth: -2x is no factor; give a positive one up to 1000000x"),
    ([*MINI, "--quantity", "web_serches=1"], "bucket web_serches is unknown; is it web_searches"),
    ([*MINI, "--quantity", "web_searches"], "quantity web_searches: write each bucket once as bucket=amount"),
    ([*MINI, "--compare", "nobody/x"], "model nobody/x: provider nobody has no prices"),
    ([*MINI, "--provisioned", "hourly=60"], "estimate: provisioned.tokens_per_minute: is missing; add it"),
    ([*MINI, "--provisioned", "hourly=-1,tokens_per_minute=1"], "estimate: provisioned.hourly: money is -1; give a positive"),
    ([*MINI, "--provisioned", "price=60"], "provisioned: 'price=60' is no hourly, units"),
    ([*MINI, "--provisioned", "hourly=1,tokens_per_minute=1,currency=EUR"], "provisioned is in EUR, openai/gpt-5-mini in USD"),
    ([*MINI, "--profile", "x.toml"], "estimate: --input beside --profile; write it into the profile"),
    (["--profile", "nowhere.toml"], "profile nowhere.toml: is not there; `usage-streams estimate --example` prints one"),
    (["nowhere.jsonl"], "file nowhere.jsonl: is not there; give JSON Lines of planned events, or - for standard input"),
    (["-"], "file -: holds no events; write one JSON object a line"),
    (["x.jsonl", "--tenant", "acme"], "estimate: --tenant beside a file; its events say it themselves, leave it out"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "line"), NONSENSE)
def test_nonsense_is_one_clear_line_with_the_remedy(arguments: list[str], line: str) -> None:
    said = run.invoke(main.app, ["estimate", *arguments])

    assert (said.exit_code, said.stdout) == (2, "")
    [only] = said.stderr.splitlines()
    assert only.startswith("usage-streams: ")
    assert line in only


@pytest.mark.parametrize(("at", "said"), [("soon", "soon: is no time"), ("2026-12-01T09:00:00", "has no zone")])
def test_a_time_without_meaning_is_refused(at: str, said: str) -> None:
    refused = run.invoke(main.app, ["estimate", *MINI, "--at", at])

    assert refused.exit_code == 2
    assert said in refused.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[workloads]]\n", "holds no [[planned]]; `usage-streams estimate --example` prints one"),
        ("nonsense", "mend the TOML"),
        ('[[planned]]\nname = "a"\nmodel = "openai/gpt-5"\nrequest = 1', "a: requests: is missing; add it"),
        ('[[planned]]\nname = "a"\nmodel = "openai/gpt-5"\nrequests = 1\ninputs = 1', "a: inputs: is no field; is it input?"),
        ('[[planned]]\nname = "a"\nmodel = "openai/gpt-5"\nrequests = 1\ninput = 1\ncached = 0.6', "such as \"60%\""),
        ("[planned]\n", "holds no [[planned]]"),
        ("planned = [1]\n", "holds no [[planned]]"),
    ],
)  # fmt: skip
def test_a_profile_with_a_slip_names_the_workload_and_the_field(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)

    said = run.invoke(main.app, ["estimate", "--profile", str(path)])

    assert said.exit_code == 2
    [only] = said.stderr.splitlines()
    assert f"profile {path}: " in only
    assert line in only
