"""Which addresses a request may go to whose URL somebody else has chosen. Pure.

A marketer's URL must not become a way into the operator's own network: a name may lead to a private
address, and a cloud's metadata service hands out credentials to whoever asks. So only addresses of
the public internet are permitted. Where an IPv6 address carries an IPv4 one (mapped, 6to4, NAT64,
Teredo), the one within is looked at.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_CARRIERS = IPv4Network("100.64.0.0/10")
"""Shared address space: neither global nor private to the library, and what many VPNs use."""
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
"""Where clouds tell a machine its secrets; link-local in most, but not in all."""


def is_permitted(address: str, *, private: bool = False) -> bool:
    """Whether a request may go there.

    `private`: the operator has named the host, so its address may be private or loopback; a
    link-local address or a metadata service is refused all the same.
    """
    return all(_is_permitted(each, private) for each in _within(ip_address(address.split("%")[0])))


def _is_permitted(address: Address, private: bool) -> bool:
    if address in _METADATA or address.is_multicast or address.is_unspecified:
        return False
    if address.is_link_local:
        return False
    own = address.is_private or address.is_loopback or address in _CARRIERS
    return (private and own and not _is_for_the_future(address)) or address.is_global


def _is_for_the_future(address: Address) -> bool:
    return isinstance(address, IPv4Address) and address.is_reserved


def _within(address: Address) -> Iterable[Address]:
    """The addresses that a packet to this one ends up at."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return address, address.sixtofour
    if address.teredo is not None:
        return address, *address.teredo
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)
