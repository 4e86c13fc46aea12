"""The jars of Apache Kafka: resolved once by jgo into a cache, versions and checksums locked beside this module.

The lock holds `sha256  file` a line and no address. Afterwards the cache is complete and no network is needed.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import jgo

from streams.resources import cache_folder

LOCK = Path(__file__).with_name("kafka-jars.lock")
ENDPOINT = "org.apache.kafka:kafka_2.13:4.1.1+org.slf4j:slf4j-simple:1.7.36"
SIZE_MB = 43
Say = Callable[[str], None]


class JarsUnusable(Exception):
    """The jars are not what the lock says."""


def locked() -> dict[str, str]:
    """File name -> sha256."""
    return {name: digest for digest, name in (line.split() for line in LOCK.read_text().splitlines())}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kafka_jars(say: Say = lambda line: None) -> Path:
    """The folder that holds every jar of the lock, checked; downloads them the first time and says so."""
    folder, wanted = cache_folder() / "kafka-4.1.1", locked()
    if all((folder / name).is_file() for name in wanted):
        return folder
    say(f"downloading Apache Kafka 4.1.1 ({len(wanted)} jars, {SIZE_MB} MB), once, into {cache_folder()}")
    resolve(folder)
    for name, digest in wanted.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            shutil.rmtree(folder)
            raise JarsUnusable(
                f"jar {name}: is not the one that {LOCK.name} names; delete {cache_folder()} and try again"
            )
    return folder


def resolve(folder: Path) -> None:
    """Let jgo fetch everything, then move the jars into one folder at once."""
    cache = cache_folder()
    try:
        context = jgo.MavenContext(repo_cache=cache / "maven", timeout=60)
        found = jgo.EnvironmentBuilder(context=context, cache_dir=cache / "jgo").from_endpoint(ENDPOINT)
    except Exception as error:  # jgo lets through whatever its HTTP library raises
        raise JarsUnusable(
            f"Apache Kafka: cannot be downloaded ({str(error).splitlines()[0] if str(error) else error!r}); the first"
            f" start needs the network, or a filled {cache} (USAGE_STREAMS_CACHE)"
        ) from error
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for jar in found.all_jars:
        shutil.copyfile(jar, fresh / Path(jar).name)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def write_lock() -> None:
    """Renew the lock from what jgo resolves now: a maintainer's step."""
    folder = cache_folder() / "kafka-4.1.1"
    resolve(folder)
    LOCK.write_text("".join(f"{_digest(p)}  {p.name}\n" for p in sorted(folder.glob("*.jar"))))


if __name__ == "__main__":
    write_lock()
