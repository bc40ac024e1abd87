"""From the likely first tokens of a reply to a distribution over choices."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from agents.engines.remote.completion import Likely
from agents.engines.spellings import spellings

_UNSEEN = 0.05  # the most, as a share of what is seen, that choices missing from the list could weigh
_UNCLEAR = 0.01  # the most, as a share of what is seen, that tokens which begin several choices may weigh


def distribution(likely: Sequence[Likely], choices: Sequence[str]) -> dict[str, float] | None:
    """The probability of each choice, summing to 1; None if the list does not settle it.

    A token counts for the choice that it is, or the only one that it begins, in any customary spelling. Servers list
    only the most likely tokens: a missing choice counts as 0, which is right only if the least likely token listed,
    an upper bound for it, is next to nothing.
    """
    weights = dict.fromkeys(choices, 0.0)
    unclear = 0.0
    for each in likely:
        meant = _meant(each.token, choices)
        if len(meant) == 1:
            weights[meant[0]] += exp(each.logprob)
        elif meant:
            unclear += exp(each.logprob)
    seen = sum(weights.values())
    least = min((exp(each.logprob) for each in likely), default=1.0)
    unseen = least * sum(weight == 0 for weight in weights.values())
    if seen <= 0 or unseen > _UNSEEN * seen or unclear > _UNCLEAR * seen:
        return None
    return {choice: weight / seen for choice, weight in weights.items()}


def _meant(token: str, choices: Sequence[str]) -> list[str]:
    """The choices that a reply with this first token may be going to state."""
    if not token.strip():
        return []
    return [choice for choice in choices if any(way.startswith(token) for way in spellings(choice, choices))]
