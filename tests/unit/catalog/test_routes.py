"""Endpoints, routes and digests: what is refused, and where; which alert goes where."""

import pytest

from streams.catalog import wire
from streams.catalog.models import Catalog
from streams.catalog.parse import parse_files
from streams.catalog.routes import escalations_of, route
from streams.catalog.validate import CatalogError
from tests.support.notifying import alert, catalog

ROUTE = '[[routes]]\nid = "r"\nendpoints = ["a"]\n'
ENDS = "".join(f'[[endpoints]]\nid = "{name}"\nkind = "topic"\n' for name in ("a", "b", "c", "d"))
RULES = "".join(
    f'[[budgets]]\nid = "{name}"\neach = ["team"]\nlimit = "1"\nperiod = {{ kind = "calendar", every = "day" }}\n'
    for name in ("team-day", "other")
)


def refused(text: str) -> str:
    with pytest.raises(CatalogError) as said:
        parse_files({"routes.toml": text})
    return str(said.value)


@pytest.mark.parametrize(
    "value",
    [
        "https://hooks.slack.com/services/T00/B00/abc",
        "https://hooks.acme.example/x?token=abc",
        "https://user:pass@hooks.acme.example/x",
        "https://prod-07.westeurope.logic.azure.com/workflows/0123456789abcdef0123456789abcdef/triggers",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw",
        "xoxb-1234-abcd",
        "https://acme.webhook.office.com/webhookb2/x",
    ],
)
def test_a_value_that_looks_like_a_secret_is_refused_and_never_repeated(value: str) -> None:
    said = refused(f'[[endpoints]]\nid = "e"\nkind = "webhook"\nsecrets = "env:S"\nurl = "{value}"\n')

    assert said.startswith("routes.toml:5: endpoints.0: url looks like a secret")
    assert value not in said


@pytest.mark.parametrize("kind", ["slack_bot", "webhook", "pagerduty", "email"])
def test_a_secret_in_place_of_its_reference_is_refused_and_never_repeated(kind: str) -> None:
    said = refused(f'[[endpoints]]\nid = "e"\nkind = "{kind}"\nsecrets = ["hunter2"]\n')

    assert "routes.toml:4: endpoints.0: secrets name where each is kept" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[endpoints]]\nid = "e"\nkind = "teams"\nurl = "https://x.example/a"\n', "4: endpoints.0: url of a teams is"),
        ('[[endpoints]]\nid = "e"\nkind = "pagerduty"\n', "endpoints.0: secrets is missing; an endpoint of kind pagerduty"),
        ('[[endpoints]]\nid = "e"\nkind = "topic"\n\nchannel = "#x"\n', "5: endpoints.0: channel is no key of kind topic"),
        ('[[endpoints]]\nid = "e"\nkind = "alertmanager"\nurl = "ftp://x"\n', "4: endpoints.0: url is 'ftp://x'"),
        ('[[endpoints]]\nid = "e"\nkind = "fax"\n', "3: endpoints.0.kind: is 'fax'; write"),
        (f'{ENDS}[[routes]]\nid = "r"\nendpoints = ["nobody"]\n', "13: routes r: endpoint nobody is not there"),
        (
            f'{RULES}{ENDS}[[routes]]\nid = "r"\nmatch = {{ rules = ["team-dya"] }}\nendpoints = ["a"]\n',
            "23: routes r: match names team-dya; no budget, burn rate, run or rule has this id, is it team-day?",
        ),
        (f"{ENDS}{2 * ROUTE}", "routes r: the id is used 2 times"),
        (f"{ENDS}{ENDS}", "1: endpoints a: the id is used 2 times; rename one"),
        (f'{ENDS}[[routes]]\nid = "r"\nendpoints = ["a"]\ngroup_wait = "2h"\n', "16: routes.0: group_wait is above 1h"),
        (f'{ENDS}[[routes]]\nid = "r"\nendpoints = ["a"]\ngroup_by = ["teem"]\n', "group_by: teem is nothing to group by"),
        (
            f'{ENDS}[[routes]]\nid = "r"\nendpoints = ["a"]\nescalate = [{{ after = "2h", endpoints = ["b"] }},'
            ' { after = "1h", endpoints = ["c"] }]\n',
            "16: routes.0: escalate must rise",
        ),
        (f'{ENDS}[[digests]]\nid = "d"\nendpoints = ["a"]\nzone = "Mars/Olympus"\n', "Mars/Olympus"),
        (
            '[[endpoints]]\nid = "p"\nkind = "pagerduty"\nsecrets = "env:P"\n[[digests]]\nid = "d"\nendpoints = ["p"]\n',
            "5: digests d: endpoint p is a pagerduty, which pages",
        ),
    ],
)  # fmt: skip
def test_a_slip_is_refused_with_its_file_line_and_remedy(text: str, said: str) -> None:
    assert said in refused(text)


def test_the_catalog_comes_back_from_the_wire_as_it_was() -> None:
    found = catalog(
        f'{ENDS}[[routes]]\nid = "r"\nendpoints = ["a"]\nescalate = [{{ after = "30m", endpoints = ["b"] }}]\n'
    )

    assert wire.load(wire.dump(found)) == found


def where(text: str, **record: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.id, ends) for one, ends in route(alert(**record), catalog(RULES + ENDS + text).routes)]  # type: ignore[arg-type]


def test_the_first_route_that_matches_is_the_last_unless_it_goes_further() -> None:
    text = (
        '[[routes]]\nid = "agents"\nmatch = { kinds = ["run"] }\nendpoints = ["a"]\nfurther = true\n'
        '[[routes]]\nid = "critical"\nmatch = { severities = ["critical"] }\nendpoints = ["a", "b"]\n'
        '[[routes]]\nid = "rest"\nendpoints = ["c"]\n'
    )

    assert where(text) == [("rest", ("c",))]
    assert where(text, severity="critical") == [("critical", ("a", "b"))]
    assert where(text, kind="run", severity="critical") == [("agents", ("a",)), ("critical", ("b",))]  # nobody twice


@pytest.mark.parametrize(
    ("match", "record", "hit"),
    [
        ('{ owners = ["finance"] }', {"owner": "finance"}, True),
        ('{ owners = ["finance"] }', {"owner": "platform"}, False),
        ('{ owners = ["finance"] }', {"owner": None}, False),
        ('{ rules = ["team-day"] }', {}, True),
        ('{ rules = ["other"] }', {}, False),
        ('{ tenant = "acme" }', {}, True),
        ('{ tenant = "globex" }', {}, False),
        ('{ where = { team = "a1" } }', {}, True),
        ('{ where = { team = "a2" } }', {}, False),
        ('{ where = { tenant_id = "acme" } }', {}, True),
        ('{ where = { environment = "production" } }', {"dimensions": None}, False),
        ('{ kinds = ["burn_rate", "run"] }', {}, False),
    ],
)
def test_a_route_matches_by_rule_severity_owner_tenant_and_scope(
    match: str, record: dict[str, object], hit: bool
) -> None:
    found = where(f'[[routes]]\nid = "r"\nmatch = {match}\nendpoints = ["a"]\n', **record)

    assert bool(found) is hit


def test_a_hand_off_is_chosen_by_what_crossed() -> None:
    text = '[[routes]]\nid = "r"\nconditions = ["repeats"]\nendpoints = ["a"]\nhand_off = "take over"\n'

    assert where(text, threshold="repeats") == [("r", ("a",))]
    assert where(text, threshold="tokens") == []


def test_steps_of_all_routes_make_one_list_of_delays_and_each_step_goes_to_its_own() -> None:
    text = (
        '[[routes]]\nid = "one"\nendpoints = ["a"]\nfurther = true\n'
        'escalate = [{ after = "5m", endpoints = ["b"] }, { after = "30m", endpoints = ["c"] }]\n'
        '[[routes]]\nid = "two"\nendpoints = ["a"]\nescalate = [{ after = "15m", endpoints = ["d"] }]\n'
    )
    found = catalog(ENDS + text)

    assert escalations_of(found, alert()) == (300_000, 900_000, 1_800_000)
    assert escalations_of(Catalog(), alert()) == ()
    told = [where(text, reason="escalated", escalation=n) for n in (1, 2, 3)]
    assert told == [[("one", ("b",))], [("two", ("d",))], [("one", ("c",))]]
    assert where(text, state="resolved", reason="cleared", escalation=2) == [("one", ("a", "b")), ("two", ("d",))]
