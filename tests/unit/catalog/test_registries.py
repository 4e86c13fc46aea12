"""Registries are refused with place and remedy, or trusted; the shipped example holds."""

import pytest

from streams.catalog import wire
from streams.catalog.parse import parse_files
from streams.catalog.registries import MOST_REQUIRED
from streams.catalog.validate import CatalogError
from streams.resources import catalog_folder

WORKLOAD = """
[[workloads]]
id = "w"
business_owner = "b"
technical_owner = "t"
cost_center = "c"
"""
KEY = """
[[keys]]
id = "key_1"
provider = "openai"
owner = "o"
cost_center = "c"
approved_use = "tests"
"""
MODEL = """
[[models]]
provider = "openai"
model = "m"
"""
REQUIREMENT = """
[[requirements]]
environment = "production"
required = ["owner"]
"""
BUDGET = """
[[budgets]]
id = "b"
limit = "1"
period = { kind = "rolling", size = "1h" }
"""
TOO_MANY = "[[requirements]]\nrequired = " + str([f"attributes.k{i}" for i in range(MOST_REQUIRED + 1)])


def test_the_example_catalog_holds_and_comes_back_from_the_wire() -> None:
    files = {path.name: path.read_text() for path in catalog_folder().glob("*.toml")}

    catalog = parse_files(files)

    assert wire.load(wire.dump(catalog)) == catalog
    assert {"workloads.toml", "keys.toml", "models.toml", "requirements.toml"} <= files.keys()
    assert catalog.workloads
    assert catalog.keys
    assert catalog.models
    assert catalog.requirements


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WORKLOAD + 'colour = "red"', "registry.toml:7: workloads.0.colour: is no key of it; leave it out"),
        (WORKLOAD + f'team = "{"x" * 129}"', "at most 128 characters"),
        (WORKLOAD + 'tags = { "a|b" = "c" }', "workload w: tag 'a|b' is no key"),
        (WORKLOAD + 'archetype = "oracle"', "workloads.0.archetype"),
        (WORKLOAD * 2, "workloads w, tenant *: there are 2 of them; leave one"),
        (WORKLOAD + 'budget = "none"', "workloads w: budget none is unknown; add it, or leave it out"),
        (KEY * 2, "keys key_1, provider openai, tenant *: there are 2 of them"),
        (KEY + 'workload = "gone"', "keys key_1: workload gone is unknown to tenant *"),
        (KEY.replace("key_1", "sk-" + "a" * 30), "id looks like the key itself"),
        (WORKLOAD + 'tenant = "acme"' + KEY + 'workload = "w"', "workload w is unknown to tenant *"),
        (MODEL * 2, "models m, provider openai, tenant *: there are 2 of them"),
        (MODEL + 'workloads = { gone = "approved" }', "models m: workload gone is unknown"),
        (MODEL + 'classes = { k = "liked" }', "models.0.classes.k"),
        (REQUIREMENT * 2, "requirements of tenant *, environment production: there are 2 of them"),
        (REQUIREMENT.replace('"owner"', '"colour"'), "required colour: no such field; take one of application, owner"),
        (TOO_MANY, f"requirements: {MOST_REQUIRED + 1} different fields, at most {MOST_REQUIRED}"),
        (BUDGET + 'each = ["colour"]', "dimension colour: there is none; take one of tenant_id"),
        (BUDGET + 'each = ["attributes.a|b"]', "dimension attributes.a|b: there is none"),
    ],
)
def test_a_slip_in_a_registry_is_named_with_its_remedy(text: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse_files({"registry.toml": text})

    assert message in str(caught.value)


def test_a_refused_key_is_not_repeated_in_the_message() -> None:
    secret = "sk-" + "a" * 30

    with pytest.raises(CatalogError) as caught:
        parse_files({"keys.toml": KEY.replace("key_1", secret)})

    assert secret not in str(caught.value)
