"""A dimension of events by name: a column, or `attributes.KEY`, one of the event's own attributes."""

import polars as pl

OF_ATTRIBUTES = "attributes."


def dimension(frame: pl.DataFrame, name: str) -> pl.Series:
    """The values, one a row, named `name`; null where the event, or a batch older than the column, does not say.

    Of a key that an event names twice the first one holds.
    """
    if not name.startswith(OF_ATTRIBUTES):
        return (
            frame[name] if name in frame.columns else pl.Series(name, [None], pl.String).new_from_index(0, frame.height)
        )
    wanted = name.removeprefix(OF_ATTRIBUTES)
    items = pl.DataFrame({"attributes": frame["attributes"]}).with_row_index("row")
    found = (
        items.filter(pl.col("attributes").list.len() > 0)
        .explode("attributes")
        .unnest("attributes")
        .filter(pl.col("key") == wanted)
        .unique("row", keep="first", maintain_order=True)
    )
    if not found.height:
        return pl.Series(name, [None], pl.String).new_from_index(0, frame.height)
    return items.select("row").join(found, on="row", how="left", maintain_order="left")["value"].alias(name)
