"""What a usage block costs on its way to priced lines: our hot path, our scalar twin, genai-prices, LiteLLM.

The same real payloads for all; CPU time, one run, so only ratios say something. LiteLLM is no dependency of ours: it is
installed into a folder of its own when it is not there.
    python -m tests.bench.pricing
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices import Usage, calc_price, extract_usage

from streams.catalog.base_prices import base_catalog
from streams.catalog.book import Book, Sale, compile_book
from streams.pipeline.rate import rate
from streams.tokens.normalise import normalise
from streams.tokens.read import read_block
from tests.support.corpus import Payload, payloads
from tests.support.events import DECODER, avro
from tests.unit.pipeline.test_corpus_prices import AT

CHUNK = 10_000
NATIVE = {"openai.chat": "openai", "openai.responses": "openai", "anthropic.messages": "anthropic"}
NATIVE |= {"google.generate_content": "google", "groq.chat": "groq"}
PEER = """
import json, sys, time
import litellm
from litellm import cost_per_token
from litellm.types.utils import Usage
calls = json.load(sys.stdin)
kept = []
for model, provider, usage in calls:
    try:
        cost_per_token(model=model, custom_llm_provider=provider, usage_object=Usage(**usage))
        kept.append((model, provider, usage))
    except Exception:
        pass
rounds, start = 5, time.process_time()
for _ in range(rounds):
    for model, provider, usage in kept:
        cost_per_token(model=model, custom_llm_provider=provider, usage_object=Usage(**usage))
spent = time.process_time() - start
print(json.dumps({"us": spent / rounds / len(kept) * 1e6, "priced": len(kept)}))
"""


def common() -> list[tuple[Payload, str]]:
    """Payloads of providers that all three know, priced by the source."""
    return [
        (p, NATIVE[p.dialect])
        for p in payloads()
        if p.dialect in NATIVE and any(n == NATIVE[p.dialect] for n, *_ in p.prices)
    ]


def cpu(work: Callable[[], Any], events: int, rounds: int) -> float:
    """CPU µs an event, every thread counted; the best round."""
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / events * 1e6


def scalar(book: Book, dialect: str, provider: str, model: str, block: str) -> Decimal | None:
    """The oracle: one block, dicts and Decimal."""
    found = read_block(dialect, block)
    whole = sum(n for b, n in found.quantities.items() if b.startswith("input_"))
    cost = Decimal(0)
    for _, places in book.offers(Sale(provider, model)).found:
        cells = [book.cells[i] for i in places]
        for bucket, quantity in found.quantities.items():
            fits = [
                c for c in cells
                if c.bucket == bucket and c.context_from <= whole and (c.context_to is None or whole < c.context_to)
                and c.effective_from <= AT and (c.effective_to is None or c.effective_to > AT)
            ]  # fmt: skip
            if not fits:
                return None
            cost += fits[0].unit_price * quantity
    return cost


def litellm(cases: list[tuple[Payload, str]]) -> dict[str, Any]:
    """LiteLLM's cost_per_token on the same counts, in an environment of its own; no network is asked for prices."""
    folder = Path(tempfile.gettempdir()) / "bench-litellm"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = Path(sys.executable).parent / "uv"
        print("installing LiteLLM beside, once", flush=True)
        subprocess.run([uv, "venv", "--quiet", folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "litellm"], check=True)
    calls = [(p.model, {"google": "gemini"}.get(n, n), counts(p)) for p, n in cases]
    done = subprocess.run(
        [python, "-c", PEER], input=json.dumps(calls), capture_output=True, text=True, check=True,
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def counts(payload: Payload) -> dict[str, int]:
    """Inclusive counts as LiteLLM takes them."""
    told = payload.extracted
    asked, done = told.get("input_tokens", 0), told.get("output_tokens", 0)
    return {
        "prompt_tokens": asked,
        "completion_tokens": done,
        "total_tokens": asked + done,
        "cache_read_input_tokens": told.get("cache_read_tokens", 0),
        "cache_creation_input_tokens": told.get("cache_write_tokens", 0),
    }


def measure() -> dict[str, Any]:
    """CPU µs an event of each, and how many times the faster peer needs what we need. Prints the rows."""
    cases = common()
    blocks = [json.dumps(p.block) for p, _ in cases]
    records = [
        avro(i, provider=n, model=p.model, event_time=AT, usage_json=blocks[i % len(cases)], usage_dialect=p.dialect)
        for i in range(CHUNK)
        for p, n in (cases[i % len(cases)],)
    ]
    book = compile_book(base_catalog(), 1, "bench")
    frame = DECODER.decode(records).frame
    pairs = list(zip(cases, blocks, strict=True))
    count = len(cases)
    found = {
        "hot_path": cpu(lambda: rate(frame, normalise(frame), book), CHUNK, 15),
        "scalar": cpu(lambda: [scalar(book, p.dialect, n, str(p.model), b) for (p, n), b in pairs], count, 5),
        "genai_prices": cpu(lambda: [calculated(p, n) for p, n in cases], count, 2),
        "genai_prices_from_block": cpu(lambda: [extracted_and_calculated(p, n) for p, n in cases], count, 2),
    }
    print(f"pricing of {count} real payloads, from the usage block to priced lines")
    try:
        peer = litellm(cases)
        found["litellm"] = peer["us"]
        print(f"LiteLLM prices {peer['priced']} of them")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"NOT MEASURED: LiteLLM could not be installed ({error}); its row is missing")
    hot = found["hot_path"]
    for name, us in found.items():
        print(f"{name:<26}{us:>9.1f} us CPU{us / hot:>8.1f} times the hot path{1e6 / us:>12,.0f}/s")
    faster = min(found["genai_prices"], found.get("litellm", float("inf")))
    return {"cpu_us": {k: round(v, 2) for k, v in found.items()}, "times_the_faster_peer": round(faster / hot, 1)}


def calculated(payload: Payload, provider: str) -> Decimal:
    """genai-prices on counts that somebody extracted before."""
    usage = Usage(**payload.extracted)
    return calc_price(usage, str(payload.model), provider_id=provider, genai_request_timestamp=AT).total_price


FLAVOUR = {"openai.chat": "chat", "openai.responses": "responses"}


def extracted_and_calculated(payload: Payload, provider: str) -> Decimal:
    """What ours does from the block on, with genai-prices."""
    name = "usageMetadata" if payload.dialect.startswith("google") else "usage"
    model = "modelVersion" if payload.dialect.startswith("google") else "model"
    extracted = extract_usage(
        {model: payload.model, name: payload.block},
        provider_id=provider,
        api_flavor=FLAVOUR.get(payload.dialect, "default"),
    )
    return Decimal(extracted.calc_price(genai_request_timestamp=AT).total_price)


if __name__ == "__main__":
    print(json.dumps(measure()))
