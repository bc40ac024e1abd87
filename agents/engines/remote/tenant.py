"""Names for what a server caches, so that no tenant finds, or guesses, what another has sent."""

from __future__ import annotations

import hmac
import secrets
from functools import lru_cache
from hashlib import sha256

_KEPT = 16_384
"""Names that are remembered: those of the pictures that are asked about again."""


class Secret:
    """Random for each process: nobody outside can compute a name."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self.remembered = lru_cache(_KEPT)(self.name)

    def tenant(self, name: str | None) -> Tenant:
        """One of the tenants; None is the service itself."""
        return Tenant(self, name)

    def name(self, *facts: str | int | None) -> str:
        """The name of something that these facts determine: 64 hexadecimal digits."""
        return hmac.digest(self._key, repr(facts).encode(), sha256).hex()


class Tenant:
    """Whose frames and prompts these are. `salt` keeps its prompts apart in the server's prefix cache.

    The service's own prompts are not salted.
    """

    def __init__(self, secret: Secret, name: str | None) -> None:
        self._secret = secret
        self._name = name
        self.salt = None if name is None else secret.remembered(name, "prompts")

    def picture(self, key: str) -> str:
        """The name of a picture with this key."""
        return self._secret.remembered(self._name, "image", key)

    def clip(self, *facts: str | int) -> str:
        """The name of a clip: the keys of its pictures, and when it shows them."""
        return self._secret.name(self._name, "video", *facts)
