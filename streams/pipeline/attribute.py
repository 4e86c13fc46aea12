"""Who an event belongs to, beyond what it says itself: its workload, its key and its model say the rest, and what is missing.

What the event declares wins over its workload, the workload over the key; nothing declared is ever overwritten. An empty string
declares nothing. Every filled field is named by its source, and what a registry says otherwise than the event is visible.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from streams.catalog.book import Book
from streams.catalog.registry_frames import (
    APPROVALS,
    FILLED,
    OF_KEY,
    OF_WORKLOAD,
    ONLY_OF_WORKLOAD,
    PRODUCTION,
    Policies,
    RegistryFrames,
    Shelf,
)
from streams.pipeline.dimensions import dimension
from streams.pipeline.frames import INSTANT

NAMES = pl.List(pl.String)
ALWAYS_THERE = ("provider", "model")  # decode refuses what lacks them
ADDED = pl.Schema(
    {
        "sku_model": pl.String(),  # the name under which prices know the model
        "archetype": pl.String(),
        "accountable": pl.String(),
        "lacks": NAMES,  # required fields that are missing
        "contradicts": NAMES,  # fields that the event declares otherwise than its workload
        "unregistered": NAMES,  # workload, key, model: named by the event, listed in no registry of its tenant
        "from_workload": NAMES,  # fields that the workload filled
        "from_key": NAMES,
        "from_model": NAMES,
    }
)
NAMED = pl.Schema(
    {
        "provider": pl.String(),
        "model": pl.String(),
        "named_from": INSTANT,
        "named_to": INSTANT,
        "sku_model": pl.String(),
    }
)

LISTS: dict[str, tuple[str, ...]] = {  # a list travels as bits until the end; the names of its bits
    "contradicts": OF_WORKLOAD,
    "unregistered": ("workload", "key", "model"),
    "from_workload": (*OF_WORKLOAD, *ONLY_OF_WORKLOAD, "approval_status", "attributes"),
    "from_key": tuple(OF_KEY),
    "from_model": ("model_tier", "approval_status"),
}
EMPTY = {name: pl.lit([], NAMES).alias(name) for name in LISTS}


def attribute(events: pl.DataFrame, book: Book) -> pl.DataFrame:
    """events: decode's columns, in source_offset order. Fills what registries know and adds ADDED; rows keep their order."""
    of = book.registries
    frame = _with_key(named(events, book), of.keys)
    frame = _with_model(_with_workload(frame, of), of)
    frame = frame.with_columns(_lacks(frame, of.policies))
    lists = [_listed(frame[name], names) if name in frame.columns else EMPTY[name] for name, names in LISTS.items()]
    texts = [pl.lit(None, pl.String).alias(n) for n in ONLY_OF_WORKLOAD if n not in frame.columns]
    return frame.with_columns(*texts, *lists).select(*events.columns, *ADDED.names())


def refused(events: pl.DataFrame, book: Book) -> pl.Series:
    """Of attributed events: which lack what their tenant and environment refuse to be without."""
    policies = book.registries.policies
    if not policies.refuses.any():
        return pl.Series("refused", [False]).new_from_index(0, events.height)
    return (policies.refuses.gather(_rules(events, policies)) & (events["lacks"].list.len() > 0)).alias("refused")


def named(events: pl.DataFrame, book: Book) -> pl.DataFrame:
    """With the model under which prices know them; a name that nobody knows stands for itself. Distinct names are few."""
    pairs = events.select("provider", "model").unique()
    meant = [(p, m, sku) for p, m in pairs.iter_rows() for sku in book.names.resolve(p, m)]
    rows = [(p, m, sku.effective_from, sku.effective_to, sku.model) for p, m, sku in meant]
    skus = pl.DataFrame(rows, NAMED, orient="row")
    on, at = ["provider", "model"], pl.col("event_time")
    if skus.select(on).is_unique().all():
        found = events.join(skus.select(*on, "sku_model"), on=on, how="left", maintain_order="left")
    else:  # a name that means another model from some day on
        each = events.select("source_offset", "event_time", *on).join(skus, on=on)
        each = each.filter((pl.col("named_from") <= at).fill_null(True), (pl.col("named_to") > at).fill_null(True))
        each = each.select("source_offset", "sku_model")
        found = events.join(each, on="source_offset", how="left", maintain_order="left", validate="1:1")
    return found.with_columns(sku_model=pl.coalesce("sku_model", "model"))


def _declared(name: str) -> pl.Expr:
    return pl.when(pl.col(name).str.len_bytes() > 0).then(pl.col(name))


def _bits(flags: Mapping[str, pl.Expr], names: Sequence[str]) -> pl.Expr:
    """One Int64 of the flags: the bit of a name is its place in `names`."""
    there = [flags[name].cast(pl.Int64).fill_null(0) * (1 << i) for i, name in enumerate(names) if name in flags]
    return pl.sum_horizontal(there) if there else pl.lit(0, pl.Int64)


def _listed(bits: pl.Series, names: Sequence[str]) -> pl.Series:
    """The names of the bits that are set: a loop over the different combinations, of which a chunk has few."""
    different = bits.unique()
    lists = [[name for i, name in enumerate(names) if number >> i & 1] for number in different.to_list()]
    table = pl.DataFrame({"bits": different, "names": pl.Series("names", lists, NAMES)})
    if table.height == 1:
        return table["names"].new_from_index(0, len(bits)).alias(bits.name)
    rows = bits.alias("bits").to_frame().join(table, on="bits", how="left", maintain_order="left")
    return rows["names"].alias(bits.name)


def _place(frame: pl.DataFrame, shelf: Shelf) -> pl.Series:
    """Row of the shelf's table for each event; null where it has none."""
    asked, ids = frame.select("tenant_id", *shelf.ids), list(shelf.ids)
    places = []
    for index, on in ((shelf.own, ["tenant_id", *ids]), (shelf.every, ids)):
        if index.height:
            places.append(asked.join(index, on=on, how="left", maintain_order="left", validate="m:1")["row"])
    return places[0].fill_null(places[1]) if len(places) > 1 else places[0]


def _beside(frame: pl.DataFrame, shelf: Shelf, kind: str) -> pl.DataFrame:
    """The entry of each event beside it, columns prefixed, and whether it names what its tenant's registry does not list.

    A tenant without a registry names nothing that is unregistered.
    """
    place = _place(frame, shelf)
    entry = shelf.table.select(pl.all().name.prefix(f"{kind}.")).select(pl.all().gather(place))
    listed = place.is_not_null()
    kept = pl.lit(True) if shelf.every.height else pl.col("tenant_id").is_in(shelf.own["tenant_id"].unique().to_list())
    names_one = pl.col(shelf.ids[-1]).str.len_bytes() > 0
    return frame.with_columns((names_one & ~listed & kept).alias(f"unknown.{kind}"), place.alias(f"{kind}.row")).hstack(
        entry
    )


def _with_key(frame: pl.DataFrame, keys: Shelf) -> pl.DataFrame:
    """The workload that the key serves, for events that name none."""
    if keys.empty:
        return frame
    frame = _beside(frame, keys, "key")
    said, known = _declared("workload_id"), pl.col("key.workload_id")
    return frame.with_columns(
        workload_id=pl.coalesce(said, known, "workload_id"), key_named=said.is_null() & known.is_not_null()
    )


def _with_workload(frame: pl.DataFrame, of: RegistryFrames) -> pl.DataFrame:
    """Fields that the workload and the key know, and the person who answers for the cost."""
    has_key, has_workload = not of.keys.empty, not of.workloads.empty
    answers: list[pl.Expr] = []
    if has_workload:
        frame = _beside(frame, of.workloads, "workload")
        answers.append(pl.col("workload.accountable"))
    if of.accountable.height:
        persons = frame.select("tenant_id").join(
            of.accountable, on="tenant_id", how="left", maintain_order="left", validate="m:1"
        )
        answers.append(pl.lit(persons["tenant_accountable"]))
    if answers:
        frame = frame.with_columns(accountable=pl.coalesce(answers))
    if not has_key and not has_workload:
        return frame
    filled = dict[str, pl.Expr]()
    by_workload, by_key, other = dict[str, pl.Expr](), dict[str, pl.Expr](), dict[str, pl.Expr]()
    if has_key:
        by_key["workload_id"] = pl.col("key_named")
    for name in FILLED:
        values = [_declared(name)]
        if has_workload and name in OF_WORKLOAD:
            known = pl.col(f"workload.{name}")
            by_workload[name] = values[0].is_null() & known.is_not_null()
            other[name] = values[0] != known
            values.append(known)
        if has_key and name in OF_KEY and name != "workload_id":
            known = pl.col(f"key.{name}")
            by_key[name] = pl.coalesce(values).is_null() & known.is_not_null()
            values.append(known)
        if len(values) > 1:
            filled[name] = pl.coalesce(*values, name)
    if has_workload:
        by_workload |= {name: pl.col(f"workload.{name}").is_not_null() for name in ONLY_OF_WORKLOAD}
        filled["archetype"] = pl.col("workload.archetype")
    if of.tagged:
        tags = _tags(frame)
        by_workload["attributes"] = pl.lit(tags.is_not_null())
        filled["attributes"] = pl.concat_list("attributes", pl.lit(tags).fill_null([]))
    return frame.with_columns(
        **filled,
        from_workload=_bits(by_workload, LISTS["from_workload"]),
        from_key=_bits(by_key, LISTS["from_key"]),
        contradicts=_bits(other, LISTS["contradicts"]),
    )


def _tags(frame: pl.DataFrame) -> pl.Series:
    """Per event the workload's tags whose key is none of its own attributes; null where there are none."""
    rows = frame.select("attributes", tags=pl.col("workload.tags")).with_row_index("row")
    tagged = rows.filter(pl.col("tags").list.len() > 0)
    own = tagged.filter(pl.col("attributes").list.len() > 0).select("row", "attributes").explode("attributes")
    tags = tagged.select("row", "tags").explode("tags").unnest("tags")
    added = tags.join(own.unnest("attributes"), on=["row", "key"], how="anti", maintain_order="left")
    lists = added.group_by("row", maintain_order=True).agg(tags=pl.struct("key", "value"))
    return rows.select("row").join(lists, on="row", how="left", maintain_order="left")["tags"]


def _with_model(frame: pl.DataFrame, of: RegistryFrames) -> pl.DataFrame:
    """Tier and approval. Of workload and model the stricter word holds: a blocked model is unapproved wherever it is used."""
    weights = dict[str, pl.Expr]()
    if not of.workloads.empty:
        weights["workload"] = pl.col("workload.approval")
    if not of.models.empty:
        frame = _beside(frame, of.models, "model")
        said = [pl.col("model.approval")]
        for table, on, name in (
            (of.by_class, "workload_class", "by_class"),
            (of.by_workload, "workload_id", "by_workload"),
        ):
            if table.height:
                asked = frame.select(pl.col("model.row").alias("row"), on)
                found = asked.join(table, on=["row", on], how="left", maintain_order="left", validate="m:1")
                said.insert(0, pl.lit(found[name]))
        weights["model"] = pl.coalesce(said)
    unknown = {kind: pl.col(f"unknown.{kind}") for kind in LISTS["unregistered"] if f"unknown.{kind}" in frame.columns}
    if unknown:
        frame = frame.with_columns(unregistered=_bits(unknown, LISTS["unregistered"]))
    if not weights:
        return frame
    frame = frame.with_columns(weight.alias(f"weight.{kind}") for kind, weight in weights.items())
    strictest = pl.max_horizontal(f"weight.{kind}" for kind in weights)
    open_ = _declared("approval_status").is_null() & strictest.is_not_null()
    of_model = pl.lit(False)
    values = {"approval_status": pl.when(open_).then(_word(strictest)).otherwise("approval_status")}
    if "model" in weights:
        of_workload = (
            (pl.col("weight.workload") == strictest).fill_null(False) if "workload" in weights else pl.lit(False)
        )
        of_model = open_ & ~of_workload
        tier = _declared("model_tier").is_null() & pl.col("model.tier").is_not_null()
        values["model_tier"] = pl.when(tier).then("model.tier").otherwise("model_tier")
        values["from_model"] = _bits({"model_tier": tier, "approval_status": of_model}, LISTS["from_model"])
    if "workload" in weights:
        by_workload = _bits({"approval_status": open_ & ~of_model}, LISTS["from_workload"])
        values["from_workload"] = pl.col("from_workload") + by_workload
    return frame.with_columns(**values)


def _word(weight: pl.Expr) -> pl.Expr:
    return pl.lit(pl.Series(APPROVALS)).gather(weight)


def _rules(frame: pl.DataFrame, policies: Policies) -> pl.Series:
    """Which policy each event is held to; what does not say its environment is held to the rules of production."""
    asked = frame.select("tenant_id", pl.coalesce(_declared("environment"), pl.lit(PRODUCTION)).alias("environment"))
    rule: pl.Series | None = None
    for index in (policies.by_both, policies.by_tenant, policies.by_environment):
        if index.height:
            on = [name for name in index.columns if name != "rule"]
            found = asked.join(index, on=on, how="left", maintain_order="left", validate="m:1")["rule"]
            rule = found if rule is None else rule.fill_null(found)
    nothing = pl.Series("rule", [policies.last], pl.UInt32).new_from_index(0, frame.height)
    return nothing if rule is None else rule.fill_null(policies.last)


def _lacks(frame: pl.DataFrame, policies: Policies) -> pl.Series:
    """Required fields that are missing. `owner` is there when either owner is."""
    absent = {name: _absent(dimension(frame, name)) for name in policies.fields if name not in ("owner", *ALWAYS_THERE)}
    if "owner" in policies.fields:
        absent["owner"] = _absent(frame["business_owner"]) & _absent(frame["technical_owner"])
    required = policies.masks.gather(_rules(frame, policies))
    return _listed(
        frame.select(_bits(absent, policies.fields).alias("lacks") & pl.lit(required)).to_series(), policies.fields
    )


def _absent(values: pl.Series) -> pl.Expr:
    if values.null_count() == len(values):  # nobody in the chunk says it
        return pl.lit(True)
    return pl.lit(values.str.len_bytes() == 0).fill_null(True)
