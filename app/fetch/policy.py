"""Which URLs may be fetched: strict parsing, public addresses, the operator's rules, and data: URLs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Self
from urllib.parse import unquote_to_bytes, urljoin

from app.errors import BadRequest, Forbidden, TooLarge

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


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in its one usual notation; None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Whether this, as a resolver gives it, is an address that everybody on the internet can reach."""
    known = parse_address(address)
    if isinstance(known, IPv4Address):
        return not any(known in network for network in _NOT_PUBLIC_4)
    if known is None or known.scope_id is not None:
        return False
    return known in _PUBLIC_6 and not any(known in network for network in _NOT_PUBLIC_6)


_URL = re.compile(r"(https?)://([^/?#\\]*)(/[^?#\\]*)?(\?[^#\\]*)?(?:#.*)?", re.IGNORECASE | re.ASCII)
_PRINTABLE = re.compile(r"[!-~]{1,8192}")
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """A place to fetch from. `host`: a name in lower case without a last dot, or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises BadRequest, without param, for everything that is not plainly a http(s) URL."""
        if not _PRINTABLE.fullmatch(url):
            raise _invalid_url("Write it in at most 8192 ASCII characters without spaces, a foreign host as xn--….")
        parts = _URL.fullmatch(url)
        if parts is None:
            raise _invalid_url("It must begin with http:// or https:// and have no backslash.")
        scheme = parts[1].lower()
        if "@" in parts[2]:
            raise _invalid_url("Leave out user name and password.")
        place = _AUTHORITY.fullmatch(parts[2].lower())
        if place is None:
            raise _invalid_url("Its host cannot be read.")
        host = _address(place[1]) if place[1] else _name(place[2])
        port = int(place[3]) if place[3] else _PORTS[scheme]
        if not 1 <= port <= 65535:
            raise _invalid_url("There is no such port.")
        return cls(scheme, host, port, f"{parts[3] or '/'}{parts[4] or ''}")

    def follow(self, location: str) -> TargetUrl:
        """Where a redirect leads. Raises BadRequest as `parse` does."""
        if not _PRINTABLE.fullmatch(location):
            raise _invalid_url("It redirects to what is no URL.")
        try:
            return TargetUrl.parse(urljoin(str(self), location))
        except ValueError:
            raise _invalid_url("It redirects to what is no URL.") from None

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def _address(host: str) -> str:
    known = parse_address(host)
    if known is None or known.version != 6:
        raise _invalid_url("What is in brackets is no IPv6 address.")
    return str(known)


def _name(host: str) -> str:
    """A name, or an IPv4 address in its usual notation: no hexadecimal, octal, short or single number."""
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if parse_address(host) is None:
            raise _invalid_url("Write an IPv4 address as four decimal numbers.")
        return host
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid_url("Its host cannot be read.")
    return host


def _invalid_url(why: str) -> BadRequest:
    return BadRequest(f"This URL cannot be used. {why}", code="invalid_url")


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """`domains`: hosts, `*.` before one for all below it; none: every public host. `private`: host:port pairs that
    may be anywhere, the operator's own machines included. Unless `enabled`, nothing is fetched."""

    ports: Collection[int] = (80, 443)
    domains: Collection[str] = ()
    private: Collection[str] = ()
    enabled: bool = True

    def check(self, target: TargetUrl) -> None:
        """Raise Forbidden for what can be refused before the host is resolved."""
        if not self.enabled:
            raise Forbidden("This service does not fetch videos. Upload the file to /v1/files.", code="url_not_allowed")
        if self._is_private(target.host, target.port):
            return
        if target.port not in self.ports:
            raise _forbidden(f"port {target.port}")
        if self.domains and not any(_covers(domain, target.host) for domain in self.domains):
            raise _forbidden("this host")
        if parse_address(target.host) is None and "." not in target.host:
            raise _forbidden("hosts without a domain")
        if parse_address(target.host) is not None and not is_public(target.host):
            raise _forbidden("addresses that are not on the public internet")

    def allows(self, host: str, port: int, addresses: Collection[str]) -> bool:
        """Whether all addresses of a host are allowed."""
        return bool(addresses) and (self._is_private(host, port) or all(map(is_public, addresses)))

    def _is_private(self, host: str, port: int) -> bool:
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") in self.private


def _covers(domain: str, host: str) -> bool:
    domain = domain.lower().removesuffix(".")
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


def _forbidden(what: str) -> Forbidden:
    return Forbidden(f"This service does not fetch videos from {what}.", code="url_not_allowed")


_DATA_URL_HEAD = re.compile(
    r"data:([a-z]+/[a-z0-9.+-]+)?((?:;[a-z0-9-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE | re.ASCII
)
VIDEO_TYPES = re.compile(
    r"video/[a-z0-9.+-]+|application/(?:octet-stream|mp4|ogg|x-matroska)", re.IGNORECASE | re.ASCII
)
IMAGE_TYPES = re.compile(r"image/(?:png|jpe?g|webp|gif|bmp|x-ms-bmp)", re.IGNORECASE | re.ASCII)
_LONGEST_HEAD = 1024


def decode_data_url(url: str, largest: int, kinds: re.Pattern[str] = VIDEO_TYPES) -> bytes:
    """The content of a data: URL in base64, of certain types; blocks for large ones. Raises BadRequest, TooLarge."""
    head = _DATA_URL_HEAD.match(url[:_LONGEST_HEAD])
    if head is None or not head[3]:
        raise BadRequest("Write a data: URL as data:video/mp4;base64,…", code="invalid_url")
    if not kinds.fullmatch(head[1] or ""):
        what = "video" if kinds is VIDEO_TYPES else "picture"
        raise BadRequest(f"A data: URL of type {head[1] or 'text/plain'} is no {what}.", code="invalid_url")
    written = url[head.end() :]
    # Checked before it is decoded, so that decoding cannot take much more memory, and after, to the byte.
    if len(written) > 4 * (largest + 3):
        raise _too_large(largest)
    try:
        data = base64.b64decode(unquote_to_bytes(written) if "%" in written else written, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("What the data: URL holds is not base64.", code="invalid_url") from None
    if len(data) > largest:
        raise _too_large(largest)
    return data


def _too_large(largest: int) -> TooLarge:
    return TooLarge(f"It is larger than {largest} bytes, the most that a data: URL may hold.")
