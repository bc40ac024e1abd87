"""Which addresses are on the public internet. Everything else is refused, however it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        # IANA's special-purpose registry, multicast and the reserved rest
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 "
        "198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
        # a public number at which a cloud serves its machines secrets
        "168.63.129.16/32".split(),
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
"""All that is assigned. Loopback, local, mapped, NAT64, site-local and multicast addresses lie elsewhere."""

_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        # protocol assignments with Teredo, documentation, 6to4 and documentation again
        "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split(),
    )
)


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in its one usual notation; None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Whether this, as a resolver gives it, is an address that everybody on the internet can reach."""
    known = literal(address)
    if isinstance(known, IPv4Address):
        return not any(known in network for network in _NOT_PUBLIC_4)
    if known is None or known.scope_id is not None:
        return False
    return known in _PUBLIC_6 and not any(known in network for network in _NOT_PUBLIC_6)
