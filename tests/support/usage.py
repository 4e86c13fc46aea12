"""Stored usage as `usage_by_hour` gives it, for tests."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from streams.catalog.usage_frames import USAGE


def used(hour: datetime, quantity: int, price: str | None = "0.01", **other: Any) -> dict[str, Any]:
    """A row: so many units at a price; no price is null, like its cost."""
    unit_price = None if price is None else Decimal(price)
    return {
        "tenant_id": "", "account_id": "", "provider": "openai", "model": "m", "region": "", "service_tier": "standard",
        "bucket": "input_uncached", "hour": hour, "unit_price": unit_price, "currency": "USD" if price else None,
        "quantity": quantity, "cost": None if unit_price is None else unit_price * quantity,
    } | other  # fmt: skip


def usage(*rows: dict[str, Any]) -> pl.DataFrame:
    """USAGE."""
    return pl.DataFrame(list(rows), USAGE)
