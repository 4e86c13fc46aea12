"""Limits that cannot hold are refused with file, line, value and remedy, before anybody relies on them."""

import pytest

from streams.catalog.limits import Budget, Exemption, Rolling, Split
from streams.catalog.limits_problems import exception_misfit
from streams.catalog.parse import parse_files
from streams.catalog.validate import CatalogError

BUDGET = """
[[budgets]]
id = "{id}"
each = ["team"]
limit = "40"
{more}
[budgets.period]
kind = "calendar"
every = "month"
zone = "Europe/Berlin"
"""


def budget(name: str = "b", more: str = "") -> str:
    """Nine lines and an empty one before them; `more` stands on the sixth."""
    return BUDGET.format(id=name, more=more)


GOOD = budget()
SLIPS = {
    "an unknown dimension": (
        GOOD.replace('each = ["team"]', 'each = ["team", "colour"]'),
        "limits.toml:4: budgets.0.each.1: dimension colour: there is none; take one of tenant_id,",
    ),
    "an unknown dimension in a table of its own": (
        GOOD + '[budgets.where]\nteam = "search"\ncolour = "red"\n',
        "limits.toml:13: budgets.0.where.colour.[key]: dimension colour: there is none; take one of",
    ),
    "an impossible zone in a table of its own": (
        GOOD.replace("Europe/Berlin", "Mars/Olympus"),
        "limits.toml:10: budgets.0.period.calendar: zone Mars/Olympus: unknown; write an IANA name such as Europe/Berlin",
    ),
    "an impossible zone in a line": (
        '[[maintenance]]\nid = "night"\nstart = "22:00"\nend = "23:00"\nzone = "Mars/Olympus"\nreason = "backup"\n',
        "limits.toml:5: maintenance.0: zone Mars/Olympus: unknown; write an IANA name",
    ),
    "a threshold below zero": (
        budget(more='thresholds = [\n  "0.8",\n  "-1",\n]'),
        "limits.toml:8: budgets.0.thresholds.1: money is -1; give a positive decimal string",
    ),
    "a threshold in percent": (
        budget(more='thresholds = ["0.8", "80"]'),
        'limits.toml:2: budgets b: thresholds go up to 80, that is 8,000 % of the limit; they are shares of it, write "0.8"',
    ),
    "a warning in percent": (
        '[[runs]]\nid = "agents"\ntokens = 1000\nwarn_at = "80"\n',
        "limits.toml:1: runs agents: warn_at is 80, which is above every limit; they are shares of it",
    ),
    "a threshold twice": (
        budget(more='thresholds = ["0.8", "0.80", "1"]'),
        "limits.toml:2: budgets b: thresholds name one share twice, 0.8, 0.80, 1; write each once",
    ),
    "a run without pauses": (
        '[[runs]]\nid = "agents"\niterations = 3\nidle = "0s"\n',
        "limits.toml:1: runs agents: idle is 0, so that every request is a run of its own; give the longest pause within",
    ),
    "a run that may do nothing": (
        '[[runs]]\nid = "agents"\ncost = "0"\n',
        "limits.toml:1: runs agents: cost is 0, which stops every run at its first request; give more, or leave it out",
    ),
    "thresholds that fall": (
        budget(more='thresholds = ["1.0", "0.8"]'),
        "limits.toml:6: budgets.0: budget b: thresholds must rise and be above 0",
    ),
    "a float": (
        GOOD.replace('"40"', "40.5"),
        'limits.toml:5: budgets.0.limit: money is a float: 40.5; write it as a string, "40.5"',
    ),
    "a limit of nothing": (
        GOOD.replace('"40"', '"0"'),
        "limits.toml:5: budgets.0: budget b: limit is 0; give a positive decimal string, or none to discover",
    ),
    "a bad duration": (
        budget(more='renotify = "4 hours"'),
        "limits.toml:6: budgets.0.renotify: duration is '4 hours'; write a number and a unit, such as 90s, 30m, 6h, 3d",
    ),
    "an unknown size": (
        '[[budgets]]\nid = "b"\nlimit = "1"\nperiod = { kind = "rolling", size = "2h" }\n',
        "limits.toml:4: budgets.0.period.rolling.size: is '2h'; write '1m', '5m',",
    ),
    "a ladder out of order": (
        budget(
            more='ladder = [\n  { step = "stop", since = 2026-03-01 },\n  { step = "warn", since = 2026-02-01 },\n]'
        ),
        "limits.toml:6: budgets.0: budget b: ladder must rise in time; order its rungs by since",
    ),
    "a step that is none, in a list of tables": (
        budget(
            more='ladder = [\n  { step = "warn", since = 2026-02-01 },\n  { step = "block", since = 2026-03-01 },\n]'
        ),
        "limits.toml:8: budgets.0.ladder.1.step: is 'block'; write 'report', 'warn', 'require_approval' or 'stop'",
    ),
    "a step that is none, in tables of their own": (
        GOOD
        + '[[budgets.ladder]]\nstep = "warn"\nsince = 2026-02-01\n[[budgets.ladder]]\nstep = "block"\nsince = 2026-03-01\n',
        "limits.toml:15: budgets.0.ladder.1.step: is 'block'; write 'report',",
    ),
    "shares above the whole": (
        budget(more='split = { by = "application", shares = { a = "0.7", "*" = "0.6" } }'),
        "limits.toml:6: budgets.0.split: shares: sum to 1.3; each is above 0, together they are 1 at most",
    ),
    "a split by what is told apart already": (
        budget(more='split = { by = "team", shares = { a = "0.7" } }'),
        "limits.toml:6: budgets.0: budget b: split needs a limit and a dimension that is not in each or where",
    ),
    "an id with a space": (
        budget("team search"),
        "limits.toml:3: budgets.0.id: is 'team search'; write small letters, digits and hyphens",
    ),
    "an unknown parent": (
        budget(more='parent = "al"') + budget("all"),
        "limits.toml:2: budgets b: parent al is unknown; is it all?",
    ),
    "a cycle of parents": (
        budget("a", 'parent = "b"') + budget("b", 'parent = "c"') + budget("c", 'parent = "a"'),
        "limits.toml:2: budgets a: parent b leads back to it (a > b > c > a); leave one parent out",
    ),
    "its own parent": (budget(more='parent = "b"'), "budgets b: parent b leads back to it (b > b)"),
    "a parent of another unit": (
        budget("b", 'parent = "a"') + budget("a", 'unit = "tokens"'),
        "limits.toml:2: budgets b: parent a counts tokens, this counts cost; give both the same unit",
    ),
    "a parent in another currency": (
        budget("b", 'parent = "a"') + budget("a", 'currency = "EUR"'),
        "budgets b: parent a is in EUR, this is in USD; give both the same currency",
    ),
    "a parent that counts less": (
        budget("b", 'unit = "tokens"\nparent = "a"') + budget("a", 'unit = "tokens"\nbuckets = ["output_*"]'),
        "budgets b: parent a counts output_* alone; give both the same buckets, or the parent none",
    ),
    "a parent that is narrower": (
        budget("b", 'parent = "a"') + budget("a").replace('"team"', '"team", "project"'),
        "budgets b: parent a holds for each project, which this does not tell apart; add it to each or where",
    ),
    "a parent of other usage": (
        budget("b", 'parent = "a"\nwhere = { environment = "dev" }')
        + budget("a", 'where = { environment = "production" }'),
        "budgets b: parent a is only of environment = production; add it to where, or choose another parent",
    ),
    "a parent of another tenant": (
        budget("b", 'tenant = "acme"\nparent = "a"') + budget("a", 'tenant = "globex"'),
        "budgets b: parent a is for tenant globex, this is for acme; give both the same tenant",
    ),
    "a parent that a pool of others has many of": (
        budget("b", 'parent = "a"\nsplit = { by = "application", shares = { x = "0.5", "*" = "0.5" } }')
        + budget("a").replace('"team"', '"team", "application"'),
        "budgets b: parent a holds for each application, which this does not tell apart",
    ),
    "a parent with more shares": (
        budget("b", 'parent = "a"\nsplit = { by = "application", shares = { x = "0.5", "*" = "0.5" } }')
        + budget("a", 'split = { by = "application", shares = { x = "0.5", y = "0.2", "*" = "0.3" } }'),
        "budgets b: parent a has a share of y by application, which this does not tell apart; add them to split",
    ),
    "low usage of no whole period": (
        '[[rules]]\nid = "idle"\nkind = "low_usage"\nevents = 9\nperiod = { kind = "rolling", size = "1h" }\n',
        'limits.toml:1: rules idle: period is rolling, low_usage judges whole ones; write kind = "calendar"',
    ),
    "a lifetime of everything": (
        '[[budgets]]\nid = "b"\nlimit = "1"\neach = ["tenant_id"]\nperiod = { kind = "lifetime" }\n',
        "limits.toml:1: budgets b: period is a lifetime and each is empty: it would never end; name what lives",
    ),
    "a bucket of nobody": (
        budget(more='unit = "tokens"\nbuckets = ["outputs_*"]'),
        "limits.toml:2: budgets b: buckets names outputs_*, which no usage has; is it output",
    ),
    "a bucket of other units": (
        budget(more='unit = "tokens"\nbuckets = ["web_searches"]'),
        "budgets b: buckets names web_searches, which no usage has",
    ),
    "a measure of nobody": (
        budget(more='measures = ["latency"]'),
        "limits.toml:2: budgets b: measures names latency, which no usage has; is it latency_ms?",
    ),
    "a guard of tokens": (
        budget(more='unit = "tokens"\nguard_tokens = 5'),
        "budgets b: guard_tokens stand for money that is unknown, unit is tokens; leave guard_tokens out",
    ),
    "a burn rate of nothing": (
        GOOD + '[[burn_rates]]\nid = "fast"\nbudget = "c"\n',
        "limits.toml:11: burn_rates fast: budget c is unknown; write one of b",
    ),
    "a burn rate without a limit": (
        GOOD.replace('limit = "40"', "") + '[[burn_rates]]\nid = "fast"\nbudget = "b"\n',
        "limits.toml:11: burn_rates fast: budget b has no limit, so no speed is too fast; give it a limit",
    ),
    "a burn window of two kinds": (
        GOOD
        + '[[burn_rates]]\nid = "fast"\nbudget = "b"\nwindows = [\n  { long = "1h", short = "5m", share = "0.02" },\n'
        '  { long = "6h", short = "30m", share = "0.05", factor = "6" },\n]\n',
        'limits.toml:16: burn_rates.0.windows.1: give either share, such as "0.02", or factor, such as "1.1"',
    ),
    "a short window that is long": (
        GOOD + '[[burn_rates]]\nid = "fast"\nbudget = "b"\nwindows = [{ long = "1h", short = "6h", share = "0.02" }]\n',
        "limits.toml:11: burn_rates fast: windows 1h/6h: short is not shorter than long; take a twelfth of it",
    ),
    "windows of one name": (
        GOOD + '[[burn_rates]]\nid = "fast"\nbudget = "b"\nwindows = [{ long = "1h", short = "5m", share = "0.02" },'
        ' { long = "1h", short = "5m", share = "0.04" }]\n',
        "burn_rates fast: windows 1h/5m are given 2 times; leave one, alerts are named by them",
    ),
    "two rules of one id": (
        '[[rules]]\nid = "r"\nkind = "unpriced"\n[[rules]]\nid = "r"\nkind = "policy"\n',
        "limits.toml:1: rules r: the id is used 2 times; rename one (also limits.toml:4)",
    ),
    "a rule and a budget of one id": (
        GOOD + '[[rules]]\nid = "b"\nkind = "unpriced"\n',
        "limits.toml:11: rules b: budgets has this id too; rename one, alerts are named by it",
    ),
    "a run and a burn rate of one id": (
        GOOD + '[[burn_rates]]\nid = "x"\nbudget = "b"\n[[runs]]\nid = "x"\niterations = 3\n',
        "limits.toml:14: runs x: burn_rates has this id too; rename one",
    ),
    "a run without a limit": (
        '[[runs]]\nid = "agent"\n',
        "limits.toml:1: runs.0: runs agent: has no limit; give one of iterations, tool_calls, tokens, cost, repeats",
    ),
    "a run of everything": (
        '[[runs]]\nid = "agent"\niterations = 3\neach = ["tenant_id"]\n',
        "limits.toml:1: runs agent: each names the tenant alone, which never ends; name what a run is, run_id",
    ),
    "a silence of nothing": (
        GOOD
        + '[[silences]]\nid = "s"\nmatch = { rules = ["c"] }\nstarts = 2026-01-01\nends = 2026-01-02\nreason = "move"\n',
        "limits.toml:11: silences s: match names c; no budget, burn rate, run or rule has this id, write one of b",
    ),
    "a silence that ends before it starts": (
        '[[silences]]\nid = "s"\nstarts = 2026-01-02\nends = 2026-01-01\nreason = "move"\n',
        "limits.toml:4: silences.0: silences s: ends after it starts; mend ends",
    ),
    "a silence without end": (
        '[[silences]]\nid = "s"\nstarts = 2026-01-02\nends = 9999-12-31T23:59:59-05:00\nreason = "for good"\n',
        "limits.toml:4: silences.0.ends: 9999-12-31T23:59:59-05:00: write a moment from 1970 on and before 2200",
    ),
    "a life that outlives everybody": (
        budget(more="renotify = '9999999d'"),
        "duration is '9999999d'; write at most 3650d",
    ),
    "a zone that is a folder": (GOOD.replace("Europe/Berlin", "Europe"), "zone Europe: unknown; write an IANA name"),
    "a share of a tenant": (
        GOOD + '[budgets.split]\nby = "tenant_id"\nshares = { acme = "0.5" }\n',
        "split is by tenant_id, whose scopes nobody may share; write a budget for each tenant instead",
    ),
    "a budget of no tenant": (
        GOOD.replace('each = ["team"]', 'each = ["team"]\ntenant = ""'),
        "tenant is empty; leave it out for every tenant, or name one",
    ),
    "a number that is a truth": (
        GOOD.replace('each = ["team"]', 'each = ["team"]\nguard_tokens = true'),
        "guard_tokens",
    ),
    "a time of day that is none": (
        '[[maintenance]]\nid = "night"\nstart = "10 pm"\nend = "23:00"\nreason = "backup"\n',
        "limits.toml:3: maintenance.0.start: is '10 pm'; write a time of day, such as 22:00",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_with_its_place_and_remedy(slip: str) -> None:
    text, message = SLIPS[slip]

    with pytest.raises(CatalogError) as caught:
        parse_files({"limits.toml": text})

    assert message in str(caught.value)


def test_yaml_is_refused_at_its_line_too() -> None:
    text = (
        "budgets:\n  - id: a\n    limit: '1'\n    period: {kind: calendar, every: day}\n    ladder:\n"
        "      - {step: warn, since: 2026-02-01}\n      - {step: block, since: 2026-03-01}\n"
        "  - id: b\n    limit: '1'\n    period:\n      kind: calendar\n      every: day\n      zone: Mars/Olympus\n"
    )

    with pytest.raises(CatalogError) as caught:
        parse_files({"limits.yaml": text})

    assert "limits.yaml:7: budgets.0.ladder.1.step: is 'block'" in str(caught.value)
    assert "limits.yaml:13: budgets.1.period.calendar: zone Mars/Olympus: unknown" in str(caught.value)


def test_a_problem_of_the_whole_has_the_place_of_its_entry_in_yaml() -> None:
    with pytest.raises(CatalogError, match=r"^limits\.yaml:3: rules r: budgets has this id too"):
        parse_files({"budgets.toml": budget("r"), "limits.yaml": "# rules\nrules:\n  - id: r\n    kind: unpriced\n"})


def test_a_parent_that_covers_its_child_is_welcome() -> None:
    text = (
        budget("org").replace('["team"]', "[]")
        + budget("teams", 'parent = "org"')
        + budget("shared", 'parent = "teams"\nsplit = { by = "application", shares = { a = "0.5", "*" = "0.5" } }')
        + budget("search", 'parent = "teams"\nwhere = { team = "search" }').replace('["team"]', '["user_id"]')
    )

    assert len(parse_files({"limits.toml": text}).budgets) == 4


def exemption(**other: object) -> Exemption:
    given = {"id": "e", "budget": "b", "tenant": "acme", "where": {"team": "search"}, "extra": "5", "approver": "ann",
             "justification": "launch", "starts": "2026-01-01", "expires": "2026-02-01"} | other  # fmt: skip
    return Exemption.model_validate(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ""),
        ({"where": {"team": "search", "environment": "production"}}, ""),
        ({"budget": "c"}, "budget c is unknown"),
        ({"tenant": "globex"}, "budget b is for tenant acme, not for globex"),
        ({"where": {}}, "where lacks team: budget b holds for each"),
        ({"where": {"team": "search", "user_id": "u"}}, "where names user_id, by which budget b does not hold"),
        (
            {"where": {"team": "search", "environment": "dev"}},
            "where says environment = dev, budget b is of production",
        ),
        (
            {"where": {"team": "search", "tenant_id": "globex"}},
            "where says tenant_id = globex, tenant is acme; leave it",
        ),
    ],
)
def test_an_exception_names_one_scope_of_its_budget(given: dict[str, object], said: str) -> None:
    own = Budget(
        id="b", tenant="acme", each=("team",), where={"environment": "production"}, limit="1", period=Rolling(size="1h")
    )

    found = exception_misfit(exemption(**given), {"b": own})

    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_an_exception_names_a_consumer_as_the_split_lists_it() -> None:
    split = Split(by="team", shares={"a": "0.5", "*": "0.1"})
    own = Budget(id="b", tenant="acme", limit="100", period=Rolling(size="1h"), split=split)

    said = [exception_misfit(exemption(where={"team": team}), {"b": own}) for team in ("a", "*", "other")]

    assert said == [
        "", "", "where says team = other, of which budget b has no share; it counts with the others, write *"
    ]  # fmt: skip


def test_an_exception_from_a_limit_that_is_not_there_is_refused() -> None:
    own = Budget(id="b", each=("team",), period=Rolling(size="1h"))

    assert exception_misfit(exemption(), {"b": own}).startswith("budget b has no limit that could be raised")
