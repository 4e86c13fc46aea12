"""Which addresses lie outside: nobody reaches the inside of a network through a notifier, in whatever disguise."""

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notify.address import Refused, addresses_of, is_public

PRIVATE = ["127.0.0.1", "10.0.0.7", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "168.63.129.16"]


def in_disguise(address: str) -> list[str]:
    """As IPv6 says the same: mapped, compatible, translated, NAT64, 6to4, Teredo."""
    four = int(ipaddress.IPv4Address(address))
    high, low = f"{four >> 16:x}", f"{four & 0xFFFF:x}"
    turned = four ^ 0xFFFFFFFF
    return [
        f"::ffff:{high}:{low}",
        f"::{high}:{low}",
        f"::ffff:0:{high}:{low}",
        f"64:ff9b::{high}:{low}",
        f"64:ff9b:1::{high}:{low}",
        f"2002:{high}:{low}::1",
        f"2001:0:808:808::{turned >> 16:x}:{turned & 0xFFFF:x}",
    ]


@pytest.mark.parametrize("address", ["8.8.8.8", "203.0.114.7", "168.63.129.17", "2606:4700:4700::1111", "2a00:1450::1"])
def test_an_ordinary_address_is_outside(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_inside_is_inside_in_every_disguise(address: str) -> None:
    assert not is_public(address)
    assert [form for form in in_disguise(address) if is_public(form)] == []


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.0.9", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1",
        "192.175.48.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_what_nobody_outside_answers_to_is_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "feff::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1",
        "100:0:0:1::1", "2001:db8::1", "2001:20::1", "3fff::1", "5f00::1", "2620:4f:8000::1", "64:ff9b:1::808:808",
    ],
)  # fmt: skip
def test_the_same_holds_for_ipv6(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["", "metadata.google.internal", "127.1", "0x7f000001", "fe80::1%eth0%x", "1.2.3"])
def test_what_is_no_address_is_not_outside(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4).map(str))
def test_a_mapped_address_is_outside_only_where_the_address_itself_is(address: str) -> None:
    mapped, *_ = in_disguise(address)

    assert is_public(mapped) == is_public(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"])
def test_a_name_of_the_metadata_of_a_cloud_is_refused_by_where_it_leads(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8", address]

    with pytest.raises(Refused, match="inside the network"):
        asyncio.run(addresses_of("metadata.google.internal", 80, False, resolve))
