"""The shipped traces are what was published, and their events are assigned by the documented rule."""

import hashlib
import json
import lzma
from collections import Counter

from streams.demo.assign import MODELS, UNPRICED, assign
from streams.demo.traces import DATA, azure, events, mooncake, requests


def test_the_files_hold_what_was_published() -> None:
    for line in (DATA / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256(lzma.decompress((DATA / f"{name}.xz").read_bytes())).hexdigest() == digest


def test_every_request_of_both_traces_becomes_one_event() -> None:
    assert (sum(1 for _ in azure()), sum(1 for _ in mooncake())) == (19_366, 12_031)


def test_cached_input_is_what_the_blocks_say() -> None:
    blocks = [json.loads(s.event["usage_json"]) for s in mooncake()]
    cached, whole = (sum(b[k] for b in blocks) for k in ("cache_read_input_tokens", "input_tokens"))

    assert round(cached / (cached + whole), 3) == 0.374  # 37.4 %, as measured on the published file


def test_a_conversation_stays_with_its_team_and_one_model_has_no_price() -> None:
    assert assign("mooncake", "7", 0) == assign("mooncake", "7", 99)
    shares = Counter(f"{s.event['provider']}/{s.event['model']}" for s in azure())
    assert set(shares) == {name for _, name in MODELS["azure"]}
    assert 0.09 < shares[UNPRICED] / 19_366 < 0.11


def test_times_are_shifted_so_that_the_last_event_is_now() -> None:
    sent = requests()
    shifted = list(events("t", 1_000_000_000_000, sent))

    assert shifted[-1].event["event_time"] == 1_000_000_000_000
    assert shifted[0].event["event_time"] == 1_000_000_000_000 - sent[-1].at
    assert [s.at for s in shifted] == sorted(s.at for s in shifted)
