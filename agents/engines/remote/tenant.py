"""Names for what a server caches, so that no tenant finds, or guesses, what another has sent."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256


class Secret:
    """Random for each process: nobody outside can compute a name."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def tenant(self, name: str | None) -> Tenant:
        """One of the tenants; None is the service itself."""
        return Tenant(self._key, name)


class Tenant:
    """Whose frames and prompts these are. `salt` keeps its prompts apart in the server's prefix cache.

    The service's own prompts are not salted.
    """

    def __init__(self, key: bytes, name: str | None) -> None:
        self._key = key
        self._name = name
        self.salt = None if name is None else self.name("prompts")

    def name(self, *facts: str | int | float) -> str:
        """The name of something that these facts determine: 64 hexadecimal digits."""
        return hmac.digest(self._key, repr((self._name, *facts)).encode(), sha256).hex()
