"""To whom we connect: names are resolved once, judged, and the connection goes to the address that was judged.

So nobody reaches the inside of the network through a webhook's address, neither by a name that resolves there nor by one that
resolves elsewhere the second time.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

DNS_SECONDS = 10.0
NAT64 = ipaddress.ip_network("64:ff9b::/96")
INSIDE = [  # what `is_global` of some Python that we run on calls public, and nobody outside answers to
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "240.0.0.0/4", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48",
        "100::/63", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7",
        "fec0::/10",
    )
]  # fmt: skip  # 168.63.129.16: Azure answers there to each of its machines; fec0::/10: site-local, as old as it is
Resolve = Callable[[str, int], Awaitable[list[str]]]
_threads = ThreadPoolExecutor(8, thread_name_prefix="dns")  # a name server that hangs holds one of these, nobody else's


class Refused(Exception):
    """A target that must not be reached."""


class Unresolved(Exception):
    """A name that leads nowhere, or not in time."""


async def look_up(host: str, port: int) -> list[str]:
    """Every address of a host, in the system's order. Raises Unresolved."""
    loop = asyncio.get_running_loop()
    ask = loop.run_in_executor(_threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        found = await asyncio.wait_for(ask, DNS_SECONDS)
    except (TimeoutError, OSError, UnicodeError) as error:
        why = "no answer from DNS" if isinstance(error, TimeoutError) else "has no address"
        raise Unresolved(f"{host}: {why}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address lies outside: not private, loopback, link-local, multicast, reserved, nor such a one in disguise."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])  # a zone index changes nothing
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return (
        found.is_global
        and not (found.is_multicast or found.is_reserved or found.is_unspecified)
        and not any(found in network for network in INSIDE if network.version == found.version)
    )


async def addresses_of(host: str, port: int, allow_private: bool, resolve: Resolve = look_up) -> list[str]:
    """Where to connect. Refused when any of them is inside: a name that has one of each is no honest one."""
    found = await resolve(host, port)
    if not found:
        raise Unresolved(f"{host}: has no address")
    inside = [a for a in found if not is_public(a)]
    if inside and not allow_private:
        raise Refused(
            f"{host}: is {inside[0]}, inside the network; if that is meant set USAGE_STREAMS_NOTIFY_PRIVATE=true"
        )
    return found
