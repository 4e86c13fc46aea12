"""Which events a partition has rated before: 64-bit id hashes over a horizon of broker append time, in sorted runs.

Decision: sorted numpy runs merged like a binary counter (20 bytes an event), instead of a dict (about 150): memory is what
limits the horizon, and a chunk is looked up with one `searchsorted` a run. A set is a value; adding returns a new one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Run:
    """Events sorted by key: `keys` id hashes, `prints` content fingerprints, `minutes` append time in epoch minutes."""

    keys: U64
    prints: U64
    minutes: U32

    def __len__(self) -> int:
        return len(self.keys)


def _sorted(keys: U64, prints: U64, minutes: U32) -> Run:
    order = np.argsort(keys, kind="stable")
    return Run(keys[order], prints[order], minutes[order])


def _merge(a: Run, b: Run, oldest: int) -> Run:
    keys, prints = np.concatenate([a.keys, b.keys]), np.concatenate([a.prints, b.prints])
    minutes = np.concatenate([a.minutes, b.minutes])
    live = minutes >= oldest
    return _sorted(keys[live], prints[live], minutes[live])


@dataclass(frozen=True, slots=True)
class SeenSet:
    """Ids that were rated within `horizon_minutes` of the newest append time."""

    horizon_minutes: int
    runs: tuple[Run, ...] = ()
    newest: int = 0  # epoch minutes of broker append time

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    @property
    def size_bytes(self) -> int:
        return 20 * len(self)

    def find(self, keys: U64, minutes: U32) -> tuple[npt.NDArray[np.bool_], U64]:
        """For each key: was it rated within the horizon before `minutes`, and with which fingerprint (0 if not)."""
        known = np.zeros(len(keys), np.bool_)
        prints = np.zeros(len(keys), np.uint64)
        for run in self.runs:
            at = np.searchsorted(run.keys, keys)
            at[at == len(run)] = 0
            hit = (run.keys[at] == keys) & ~known
            if hit.any():
                # Signed difference: an older chunk may be replayed after a newer one was rated.
                age = minutes[hit].astype(np.int64) - run.minutes[at[hit]].astype(np.int64)
                hit[hit] = age <= self.horizon_minutes
                known |= hit
                prints[hit] = run.prints[at[hit]]
        return known, prints

    def add(self, keys: U64, prints: U64, minutes: U32) -> "SeenSet":
        """The set with these ids; runs of similar size are merged, and what lies beyond the horizon is dropped then."""
        if not len(keys):
            return self
        newest = max(self.newest, int(minutes.max()))
        oldest = max(0, newest - self.horizon_minutes)
        runs = [*self.runs, _sorted(keys, prints, minutes)]
        while len(runs) > 1 and 2 * len(runs[-1]) >= len(runs[-2]):
            b, a = runs.pop(), runs.pop()
            runs.append(_merge(a, b, oldest))
        live = tuple(run for run in runs if len(run) and int(run.minutes.max()) >= oldest)
        return SeenSet(self.horizon_minutes, live, newest)

    def dump(self) -> bytes:
        """All entries as bytes: count, then keys, fingerprints, minutes, little-endian."""
        parts = [
            np.concatenate([getattr(r, name) for r in self.runs] or [np.array([], kind)]).astype(kind).tobytes()
            for name, kind in (("keys", "<u8"), ("prints", "<u8"), ("minutes", "<u4"))
        ]
        return b"".join(parts)

    @classmethod
    def load(cls, horizon_minutes: int, body: bytes) -> "SeenSet":
        """The set that `dump` wrote."""
        n = len(body) // 20
        keys, prints = np.frombuffer(body, "<u8", n), np.frombuffer(body, "<u8", n, 8 * n)
        return cls(horizon_minutes).add(keys, prints, np.frombuffer(body, "<u4", n, 16 * n))
