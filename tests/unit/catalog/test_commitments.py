"""Agreements are refused with file, line and remedy, or trusted."""

import pytest

from streams.catalog import wire
from streams.catalog.parse import parse_files
from streams.catalog.validate import CatalogError

AGREED = 'provider = "openai"\neffective_from = 2026-05-01T00:00:00Z\nsource = "contract 7"\n'
MONTH = 'period = { every = "month", zone = "Europe/Berlin" }\n'
CREDIT = '[[commitments]]\nid = "c"\nkind = "prepaid"\namount = "5000"\ncurrency = "USD"\n' + AGREED
PROMISE = CREDIT.replace("prepaid", "commitment") + MONTH
QUOTA = '[[quotas]]\nid = "q"\nmodel = "m"\nbuckets = ["web_searches"]\namount = 1500\n' + AGREED + MONTH
VOLUME = (
    '[[volumes]]\nid = "v"\nmeasure = "spend"\nmode = "cliff"\ncurrency = "USD"\n'
    'tiers = [{ above = "100", multiplier = "0.9" }, { above = "200", multiplier = "0.8" }]\n' + AGREED + MONTH
)
CAPACITY = (
    '[[provisioned]]\nid = "p"\nmodel = "m"\nunits = 50\nhourly_cost = "1.5"\ncurrency = "USD"\n'
    "tokens_per_minute = 2500\n" + AGREED
)


def test_good_agreements_are_published_and_read_as_they_were() -> None:
    catalog = parse_files(
        {"commitments.toml": CREDIT + QUOTA + VOLUME + CAPACITY, "more.toml": PROMISE.replace('"c"', '"d"')}
    )

    assert wire.load(wire.dump(catalog)) == catalog
    assert [a.id for a in catalog.agreements] == ["c", "d", "q", "v", "p"]


SLIPS = {
    "a float": (
        CREDIT.replace('"5000"', "5000.5"),
        "c.toml:4: commitments.0.amount: money is a float: 5000.5; write it as a",
    ),
    "no currency": (CREDIT.replace('currency = "USD"\n', ""), "c.toml:1: commitments.0.currency: is missing; add it"),
    "an unknown key": (CREDIT + 'colour = "red"', "c.toml:9: commitments.0.colour: is no key of it; leave it out"),
    "a naive time": (CREDIT.replace("00Z", "00"), "00 has no zone; write 2026-"),
    "a zero": (CREDIT.replace("5000", "0"), "commitment c: amount is 0; give a positive decimal string"),
    "a time within a quarter": (
        CREDIT.replace("T00:00", "T00:07"),
        "effective_from is 00:07:00.000000; usage is counted by quarter hours, write a full one",
    ),
    "credit by the month": (CREDIT + MONTH, "commitment c: prepaid credit has no period"),
    "a promise without a period": (PROMISE.replace(MONTH, ""), "commitment c: has no period"),
    "an unknown zone": (PROMISE.replace("Berlin", "Bonn"), "zone Europe/Bonn: unknown"),
    "half a unit": (QUOTA.replace("1500", "0.5"), "quotas.0.amount: Input should be a valid integer"),
    "units of nothing": (QUOTA.replace("web_searches", "searches"), "quota q: bucket searches: no usage has it"),
    "tiers that fall": (VOLUME.replace("200", "50"), "volume v: thresholds must rise; sort the tiers by above"),
    "a surcharge": (VOLUME.replace("0.8", "1.8"), "volume v: a multiplier above 1 is no discount"),
    "a fraction of a unit": (
        VOLUME.replace('"spend"', '"units"').replace("100", "99.5"),
        "volume v: a threshold of units is whole",
    ),
    "capacity of every model": (CAPACITY.replace('"m"', '"*"'), "provisioned p: model is *; capacity is of one model"),
    "burndown of what is no token": (
        CAPACITY + 'burndown = { requests = "2" }',
        "provisioned p: burndown of requests: no tokens are counted there; leave it out",
    ),
    "capacity twice": (
        CAPACITY + CAPACITY.replace('"p"', '"p2"') + 'region = "eu"',
        "c.toml:1: provisioned p: overlaps p2; end the first with effective_to and write the units of both",
    ),
    "an id twice": (QUOTA * 2, "c.toml:1: quotas q: the id is used 2 times; rename one"),
}


@pytest.mark.parametrize(("text", "said"), SLIPS.values(), ids=SLIPS)
def test_a_slip_is_refused_where_it_is(text: str, said: str) -> None:
    with pytest.raises(CatalogError) as refused:
        parse_files({"c.toml": text})

    assert said in str(refused.value)


def test_capacity_that_follows_another_is_no_overlap() -> None:
    first = CAPACITY + "effective_to = 2026-06-01T00:00:00Z\n"
    second = CAPACITY.replace('"p"', '"p2"').replace("2026-05", "2026-06")

    assert len(parse_files({"c.toml": first + second}).provisioned) == 2
