"""Attribution, held against a slow oracle in dicts: what is declared wins over the workload, the workload over the key."""

from itertools import chain
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.book import Book, compile_book
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog, Tenant
from streams.catalog.prices import Alias
from streams.catalog.registries import MINIMUM, ModelEntry, ProviderKey, Requirement, Workload
from streams.catalog.registry_frames import APPROVALS, OF_KEY, OF_WORKLOAD
from streams.pipeline.attribute import ADDED, attribute, refused
from streams.pipeline.totals import totals
from streams.watch.watched import scopes_of
from tests.support.events import DECODER, avro
from tests.unit.pipeline.test_rate import rated

ALL_NINE = {
    "application": "a", "business_owner": "b", "environment": "production", "cost_center": "c", "use_case": "u",
    "business_process": "p", "request_type": "chat",
}  # fmt: skip


def workload(name: str = "w", **other: Any) -> Workload:
    return Workload(**{"id": name, "business_owner": "wb", "technical_owner": "wt", "cost_center": "wc"} | other)


def key(name: str = "k", **other: Any) -> ProviderKey:
    given = {"id": name, "provider": "openai", "owner": "ko", "cost_center": "kc", "approved_use": "tests"}
    return ProviderKey(**given | other)


def book(**registries: Any) -> Book:
    return compile_book(Catalog(**registries), 1, "v1")


def attributed(events: list[dict[str, Any]], by: Book) -> list[dict[str, Any]]:
    records = [avro(i, **event) for i, event in enumerate(events)]
    return attribute(DECODER.decode(records).frame, by).to_dicts()


def one(event: dict[str, Any], **registries: Any) -> dict[str, Any]:
    return attributed([event], book(**registries))[0]


def test_what_is_declared_wins_over_the_workload_and_the_workload_over_the_key() -> None:
    row = one(
        {"workload_id": "w", "api_key_id": "k", "business_owner": "said"},
        workloads=(workload(application="wa"),),
        keys=(key(project="kp", application="ka"),),
    )

    assert (row["business_owner"], row["cost_center"], row["application"], row["project"]) == ("said", "wc", "wa", "kp")
    assert row["from_workload"] == ["technical_owner", "cost_center", "application", "approval_status"]
    assert row["from_key"] == ["project"]
    assert row["contradicts"] == ["business_owner"]


def test_an_event_without_a_workload_belongs_to_the_one_that_its_key_serves() -> None:
    row = one({"api_key_id": "k"}, workloads=(workload(archetype="agent"),), keys=(key(workload="w"),))

    assert (row["workload_id"], row["cost_center"], row["archetype"]) == ("w", "wc", "agent")
    assert row["from_key"] == ["workload_id"]


def test_an_empty_string_declares_nothing() -> None:
    row = one({"workload_id": "w", "cost_center": "", "team": ""}, workloads=(workload(),))

    assert (row["cost_center"], row["team"]) == ("wc", "")
    assert "cost_center" in row["from_workload"]


def test_a_tenants_own_entry_wins_whole_over_the_one_for_everybody() -> None:
    entries = (workload(project="p"), workload(tenant="acme", cost_center="own"))

    rows = attributed([{"workload_id": "w"}, {"workload_id": "w", "tenant_id": "other"}], book(workloads=entries))

    assert [(r["cost_center"], r["project"]) for r in rows] == [("own", None), ("wc", "p")]


def test_what_no_registry_lists_is_named_and_a_tenant_without_a_registry_is_not_outside_of_it() -> None:
    events = [
        {"workload_id": "gone", "api_key_id": "gone", "model": "gone"},
        {"workload_id": "w", "api_key_id": "k", "model": "m"},
        {"workload_id": "gone", "api_key_id": "gone", "model": "gone", "tenant_id": "other"},
        {"model": "m"},
    ]
    mine = {"tenant": "acme"}
    by = book(workloads=(workload(**mine),), keys=(key(**mine),), models=(ModelEntry(provider="openai", model="m"),))

    rows = attributed(events, by)

    assert [r["unregistered"] for r in rows] == [["workload", "key", "model"], [], ["model"], []]


def test_the_stricter_word_of_workload_and_model_holds() -> None:
    model = ModelEntry(
        provider="openai",
        model="m",
        tier="frontier",
        approval="experimental",
        workloads={"named": "approved"},
        classes={"back": "blocked", "front": "preferred"},
    )
    entries = (
        workload("named", approval="approved", workload_class="back"),
        workload("trial", approval="experimental", workload_class="front"),
        workload("back", approval="approved", workload_class="back"),
        workload("other", approval="approved"),
    )
    events = [{"workload_id": w.id, "model": "alias"} for w in entries] + [
        {"approval_status": "approved", "model": "m"}
    ]

    rows = attributed(
        events, book(workloads=entries, models=(model,), aliases=(Alias(provider="openai", alias="alias", model="m"),))
    )

    assert [r["approval_status"] for r in rows] == [
        "approved",
        "experimental",
        "unapproved",
        "experimental",
        "approved",
    ]
    assert {r["model_tier"] for r in rows} == {"frontier"}
    assert [r["from_model"] for r in rows] == [
        ["model_tier"], ["model_tier"], ["model_tier", "approval_status"], ["model_tier", "approval_status"], ["model_tier"]
    ]  # fmt: skip
    assert ["approval_status" in r["from_workload"] for r in rows] == [True, True, False, False, False]


def test_the_person_of_the_workload_answers_else_the_one_of_the_tenant() -> None:
    rows = attributed(
        [{"workload_id": "w"}, {}, {"tenant_id": "other"}],
        book(workloads=(workload(accountable="lead"),), tenants=(Tenant(id="acme", accountable="cfo"),)),
    )

    assert [r["accountable"] for r in rows] == ["lead", "cfo", None]
    assert "accountable" in rows[0]["from_workload"]
    assert rows[1]["from_workload"] == []


def test_production_must_say_nine_things_unless_somebody_decides_otherwise() -> None:
    events = [{}, {"environment": "production"}, {"environment": "development"}, ALL_NINE]

    rows = attributed(events, book())

    missing = [name for name in MINIMUM if name not in ("provider", "model")]
    assert rows[0]["lacks"] == missing
    assert rows[1]["lacks"] == [name for name in missing if name != "environment"]
    assert [rows[2]["lacks"], rows[3]["lacks"]] == [[], []]


def test_either_owner_is_an_owner() -> None:
    lacks = [r["lacks"] for r in attributed([{"technical_owner": "t"}, {"business_owner": "b"}, {}], book())]

    assert ["owner" in names for names in lacks] == [False, False, True]


def test_what_a_registry_fills_is_not_missing() -> None:
    row = one(
        {"workload_id": "w", "request_type": "chat"},
        workloads=(workload(application="a", environment="production", use_case="u", business_process="p"),),
    )

    assert row["lacks"] == []


def test_the_most_specific_requirement_holds_alone() -> None:
    rules = (
        Requirement(required=("team",)),
        Requirement(environment="staging", required=("project",)),
        Requirement(tenant="acme", required=("user_id",)),
        Requirement(tenant="acme", environment="staging", required=("attributes.k",), on_breach="dead_letter"),
    )
    asked = [
        ("other", "dev"),
        ("other", "staging"),
        ("other", None),
        ("acme", "dev"),
        ("acme", "staging"),
        ("acme", None),
    ]
    by = book(requirements=rules)
    frame = DECODER.decode(
        [avro(i, tenant_id=tenant, environment=where, team=None) for i, (tenant, where) in enumerate(asked)]
    ).frame

    found = attribute(frame, by)

    lacks = found["lacks"].to_list()
    assert lacks[:2] == [["team"], ["project"]]
    assert "cost_center" in lacks[2]  # production's minimum stays for whom nobody decided otherwise
    assert lacks[3:] == [["user_id"], ["attributes.k"], ["user_id"]]
    assert refused(found, by).to_list() == [False, False, False, False, True, False]


def test_tags_of_the_workload_are_attributes_where_the_event_has_none_of_that_key() -> None:
    mine = [{"key": "region_group", "value": "apac"}, {"key": "other", "value": "1"}]
    entries = (workload(tags={"region_group": "emea", "line": "b2b"}), workload("bare"))

    rows = attributed(
        [
            {"workload_id": "w"},
            {"workload_id": "w", "attributes": mine},
            {"workload_id": "bare", "attributes": mine},
            {},
        ],
        book(workloads=entries),
    )

    line = {"key": "line", "value": "b2b"}
    assert [r["attributes"] for r in rows] == [
        [{"key": "region_group", "value": "emea"}, line],
        [*mine, line],
        mine,
        [],
    ]
    assert ["attributes" in r["from_workload"] for r in rows] == [True, True, False, False]


def test_an_attribute_is_a_scope_like_any_dimension() -> None:
    def event(number: int, *pairs: tuple[str, str]) -> Any:
        return avro(number, attributes=[{"key": k, "value": v} for k, v in pairs])

    frame = rated(
        [event(1, ("g", "a|b"), ("x", "1")), event(2, ("g", "a|b")), event(3, ("g", "c"), ("g", "late")), event(4)],
        book(),
    )
    day = Calendar(every="day")
    budgets = [
        Budget(id="each", each=("attributes.g",), limit="1", period=day),
        Budget(id="where", where={"attributes.x": "1"}, limit="1", period=day),
        Budget(id="nobody", each=("attributes.nobody",), limit="1", period=day),
    ]

    found = totals(frame, scopes_of(budgets))

    assert dict(found.select("scope", "events").iter_rows()) == {
        "each|tenant_id=acme|attributes.g=a\\|b": 2,
        "each|tenant_id=acme|attributes.g=c": 1,
        "where|tenant_id=acme": 1,
    }


def test_a_batch_older_than_a_dimension_has_none_of_its_values() -> None:
    frame = rated([avro(1)], book()).drop("archetype")
    budget = Budget(id="b", each=("archetype",), limit="1", period=Calendar(every="day"))

    assert totals(frame, scopes_of([budget])).height == 0


def test_an_empty_chunk_has_the_columns_of_every_other() -> None:
    empty = attribute(pl.DataFrame(schema=DECODER.schema), full_book())

    assert dict(empty.schema) == {**DECODER.schema, **ADDED}


# The oracle: one event, dicts, no columns.

NAMES = st.sampled_from([None, "", "x", "y"])
FIELDS = (*dict.fromkeys((*OF_KEY, *OF_WORKLOAD)), "approval_status", "model_tier")
events_ = st.fixed_dictionaries(
    {"tenant_id": st.sampled_from(["acme", "other"]), "model": st.sampled_from(["m", "n"])},
    optional={"api_key_id": st.sampled_from(["x", "y", "z"])} | dict.fromkeys(FIELDS, NAMES),
)
optional = st.sampled_from([None, "x", "y"])
tenants = st.sampled_from(["*", "acme"])
workloads_ = st.builds(
    workload,
    st.sampled_from("xy"),
    tenant=tenants,
    cost_center=st.sampled_from("xy"),
    application=optional,
    environment=optional,
    workload_class=optional,
    accountable=optional,
    request_type=optional,
    approval=st.sampled_from(APPROVALS),
)
keys_ = st.builds(
    key,
    st.sampled_from("xy"),
    tenant=tenants,
    workload=optional,
    business_owner=optional,
    application=optional,
    team=optional,
    account_id=optional,
)
models_ = st.builds(
    ModelEntry,
    provider=st.just("openai"),
    model=st.sampled_from("mn"),
    tenant=tenants,
    tier=optional,
    approval=st.sampled_from(APPROVALS),
    workloads=st.dictionaries(st.sampled_from("xy"), st.sampled_from(APPROVALS)),
    classes=st.dictionaries(st.sampled_from("xy"), st.sampled_from(["preferred", "allowed", "blocked"])),
)
rules_ = st.builds(
    Requirement,
    tenant=tenants,
    environment=st.sampled_from(["*", "x", "production"]),
    required=st.lists(st.sampled_from(["owner", "team", "archetype", "accountable", "use_case"])).map(tuple),
)


def listed(entries: Any, *names: str) -> Any:
    """A list with one entry a combination of the names."""
    return st.lists(entries, max_size=4, unique_by=lambda e: tuple(getattr(e, n) for n in names)).map(tuple)


catalogs = st.builds(
    Catalog,
    workloads=listed(workloads_, "tenant", "id"),
    keys=listed(keys_, "tenant", "id"),
    models=listed(models_, "tenant", "model"),
    requirements=listed(rules_, "tenant", "environment"),
    tenants=st.sampled_from([(), (Tenant(id="acme", accountable="cfo"),)]),
)


def entry_of(entries: Any, tenant: str, **ids: Any) -> Any:
    """The tenant's own entry, else the one for everybody, else none."""
    fits = [e for e in entries if all(getattr(e, name) == value for name, value in ids.items())]
    for owner in (tenant, "*"):
        for e in fits:
            if e.tenant == owner:
                return e
    return None


def outside(entries: Any, tenant: str, name: str | None, entry: Any) -> bool:
    return bool(name) and entry is None and any(e.tenant in (tenant, "*") for e in entries)


def oracle(event: dict[str, Any], of: Catalog) -> dict[str, Any]:
    row = {name: event.get(name) for name in FIELDS}
    tenant, used = event["tenant_id"], event.get("api_key_id")
    from_workload, from_key, from_model, contradicts = set(), set(), set(), set()
    k = entry_of(of.keys, tenant, id=used)
    if not row["workload_id"] and k and k.workload:
        row["workload_id"] = k.workload
        from_key.add("workload_id")
    w = entry_of(of.workloads, tenant, id=row["workload_id"])
    for name in dict.fromkeys((*OF_KEY, *OF_WORKLOAD)):
        known = getattr(w, name) if w and name in OF_WORKLOAD else None
        if known and row[name] and known != row[name]:
            contradicts.add(name)
        if known and not row[name]:
            row[name] = known
            from_workload.add(name)
        held = getattr(k, OF_KEY[name]) if k and name in OF_KEY and name != "workload_id" else None
        if held and not row[name]:
            row[name] = held
            from_key.add(name)
    persons = {t.id: t.accountable for t in of.tenants}
    row["archetype"] = w.archetype if w else None
    row["accountable"] = (w.accountable if w else None) or persons.get(tenant)
    from_workload |= {"accountable"} if w and w.accountable else set()
    m = entry_of(of.models, tenant, model=event["model"])
    words = [("workload", w.approval)] if w else []
    if m:
        standing = {"blocked": "unapproved"}.get(m.classes.get(row["workload_class"], ""), "approved")
        by_class = standing if row["workload_class"] in m.classes else m.approval
        words.append(("model", m.workloads.get(row["workload_id"], by_class)))
        if m.tier and not row["model_tier"]:
            row["model_tier"] = m.tier
            from_model.add("model_tier")
    if words and not row["approval_status"]:
        source, row["approval_status"] = max(words, key=lambda word: APPROVALS.index(word[1]))
        (from_workload if source == "workload" else from_model).add("approval_status")
    rules = {(r.tenant, r.environment): r.required for r in of.requirements}
    where = row["environment"] or "production"
    chosen: tuple[str, ...] = ()
    for place in ((tenant, where), (tenant, "*"), ("*", where), ("*", "*")):
        if place in rules or place == ("*", "production"):
            chosen = rules.get(place, MINIMUM)
            break
    there = {**event, **row, "owner": row["business_owner"] or row["technical_owner"], "provider": "openai"}
    return row | {
        "lacks": {name for name in chosen if not there.get(name)},
        "contradicts": contradicts,
        "unregistered": {
            name
            for name, out in (
                ("workload", outside(of.workloads, tenant, row["workload_id"], w)),
                ("key", outside(of.keys, tenant, used, k)),
                ("model", outside(of.models, tenant, event["model"], m)),
            )
            if out
        },
        "from_workload": from_workload,
        "from_key": from_key,
        "from_model": from_model,
    }


def full_book() -> Book:
    return book(
        workloads=(workload(tags={"a": "b"}, workload_class="c"),),
        keys=(key(),),
        models=(ModelEntry(provider="openai", model="m", workloads={"w": "approved"}, classes={"c": "blocked"}),),
        tenants=(Tenant(id="acme", accountable="cfo"),),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(events_, min_size=1, max_size=6), catalogs)
def test_columns_say_what_the_oracle_says(events: list[dict[str, Any]], of: Catalog) -> None:
    team = [{"team": None, "request_type": None} | event for event in events]

    rows = attributed(team, compile_book(of, 1, "v1"))

    for row, event in zip(rows, team, strict=True):
        want = oracle(event, of)
        found = {name: set(row[name]) if isinstance(row[name], list) else row[name] for name in want}
        assert found == want


def test_a_list_names_each_field_once_in_the_order_of_the_contract() -> None:
    row = one({"workload_id": "w"}, workloads=(workload(),))

    for name in ("lacks", "from_workload"):
        assert len(set(row[name])) == len(row[name])
    assert list(chain(row["from_workload"])) == ["business_owner", "technical_owner", "cost_center", "approval_status"]
