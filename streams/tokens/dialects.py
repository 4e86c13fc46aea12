"""Every dialect by name, `provider.api`, and its decoder. A name that is not here is `unknown_dialect`, never guessed."""

from collections.abc import Callable
from typing import Any

import msgspec

from streams.tokens import anthropic, bedrock, cohere, compatible, gateways, google, openai
from streams.tokens.buckets import Dialect


def _under(provider: str, dialects: dict[str, Dialect]) -> dict[str, Dialect]:
    return {f"{provider}.{api}": dialect for api, dialect in dialects.items()}


DIALECTS: dict[str, Dialect] = {
    **_under("openai", openai.DIALECTS),
    **_under("azure", openai.DIALECTS),
    **_under("anthropic", anthropic.DIALECTS),
    **_under("google", google.DIALECTS),
    **_under("vertex", google.DIALECTS | {"anthropic": anthropic.DIALECTS["messages"]}),
    **_under("bedrock", bedrock.DIALECTS),
    **_under("cohere", cohere.DIALECTS),
    **compatible.DIALECTS,
    **gateways.DIALECTS,
}
DECODE: dict[str, Callable[[str], Any]] = {name: msgspec.json.Decoder(d.kind).decode for name, d in DIALECTS.items()}
BUCKETS = frozenset(bucket for dialect in DIALECTS.values() for bucket in dialect.buckets)
