"""What a URL names, read strictly: what two programs might read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urljoin

from app.errors import BadRequest
from app.fetch.address import literal

_URL = re.compile(r"(https?)://([^/?#\\]*)(/[^?#\\]*)?(\?[^#\\]*)?(?:#.*)?", re.IGNORECASE | re.ASCII)
_PRINTABLE = re.compile(r"[!-~]{1,8192}")
_PLACE = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A place to fetch from. `host`: a name in lower case without a last dot, or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises BadRequest, without param, for everything that is not plainly a http(s) URL."""
        if not _PRINTABLE.fullmatch(url):
            raise _unreadable("Write it in at most 8192 ASCII characters without spaces, a foreign host as xn--….")
        parts = _URL.fullmatch(url)
        if parts is None:
            raise _unreadable("It must begin with http:// or https:// and have no backslash.")
        scheme = parts[1].lower()
        if "@" in parts[2]:
            raise _unreadable("Leave out user name and password.")
        place = _PLACE.fullmatch(parts[2].lower())
        if place is None:
            raise _unreadable("Its host cannot be read.")
        host = _address(place[1]) if place[1] else _name(place[2])
        port = int(place[3]) if place[3] else _PORTS[scheme]
        if not 1 <= port <= 65535:
            raise _unreadable("There is no such port.")
        return cls(scheme, host, port, f"{parts[3] or '/'}{parts[4] or ''}")

    def follow(self, location: str) -> Target:
        """Where a redirect leads. Raises BadRequest as `parse` does."""
        if not _PRINTABLE.fullmatch(location):
            raise _unreadable("It redirects to what is no URL.")
        try:
            return Target.parse(urljoin(str(self), location))
        except ValueError:
            raise _unreadable("It redirects to what is no URL.") from None

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def _address(host: str) -> str:
    known = literal(host)
    if known is None or known.version != 6:
        raise _unreadable("What is in brackets is no IPv6 address.")
    return str(known)


def _name(host: str) -> str:
    """A name, or an IPv4 address in its usual notation: no hexadecimal, octal, short or single number."""
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if literal(host) is None:
            raise _unreadable("Write an IPv4 address as four decimal numbers.")
        return host
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _unreadable("Its host cannot be read.")
    return host


def _unreadable(why: str) -> BadRequest:
    return BadRequest(f"This URL cannot be used. {why}", code="invalid_url")
