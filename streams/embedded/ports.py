"""Free ports on loopback."""

import socket
from collections.abc import Callable


def free_port(wanted: int) -> int:
    """`wanted` when nobody has it, else one that the system gives."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")


def port_for(what: str, wanted: int, say: Callable[[str], None]) -> int:
    """A free port; says so when it is not the wanted one, which whoever has it would otherwise be taken for."""
    port = free_port(wanted)
    if wanted not in (0, port):
        say(f"port {wanted} is taken by another program: {what} is on {port}")
    return port


def listens(port: int) -> bool:
    """Does somebody answer on loopback?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
