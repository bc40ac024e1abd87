"""Where the operator lets videos be fetched from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.errors import Forbidden
from app.fetch.address import is_public, literal
from app.fetch.target import Target


@dataclass(frozen=True, slots=True)
class Policy:
    """`domains`: hosts, `*.` before one for all below it; none: every public host. `private`: host:port pairs that
    may be anywhere, the operator's own machines included. Unless `enabled`, nothing is fetched."""

    ports: Collection[int] = (80, 443)
    domains: Collection[str] = ()
    private: Collection[str] = ()
    enabled: bool = True

    def check(self, target: Target) -> None:
        """Raise Forbidden for what can be refused without asking where the host is."""
        if not self.enabled:
            raise Forbidden("This service does not fetch videos. Upload the file to /v1/files.", code="url_not_allowed")
        if self._is_private(target.host, target.port):
            return
        if target.port not in self.ports:
            raise _forbidden(f"port {target.port}")
        if self.domains and not any(_covers(domain, target.host) for domain in self.domains):
            raise _forbidden("this host")
        if literal(target.host) is None and "." not in target.host:
            raise _forbidden("hosts without a domain")
        if literal(target.host) is not None and not is_public(target.host):
            raise _forbidden("addresses that are not on the public internet")

    def may_dial(self, host: str, port: int, addresses: Collection[str]) -> bool:
        """Whether all addresses of a host are such that it may be asked."""
        return bool(addresses) and (self._is_private(host, port) or all(map(is_public, addresses)))

    def _is_private(self, host: str, port: int) -> bool:
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") in self.private


def _covers(domain: str, host: str) -> bool:
    domain = domain.lower().removesuffix(".")
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


def _forbidden(what: str) -> Forbidden:
    return Forbidden(f"This service does not fetch videos from {what}.", code="url_not_allowed")
