"""The customary ways to write a choice at the start of a reply."""

from __future__ import annotations

from collections.abc import Sequence


def spellings(choice: str, choices: Sequence[str]) -> tuple[str, ...]:
    """The choice itself, with a capital, and both after a space; never a way that is another choice's own.

    Models that were asked for `yes` say `Yes`, and some templates make them begin with a space.
    """
    capital = choice[:1].upper() + choice[1:]
    ways = (choice, capital, f" {choice}", f" {capital}")
    return tuple(
        way for way in dict.fromkeys(ways) if way == choice or way.strip() == choice or way.strip() not in choices
    )
