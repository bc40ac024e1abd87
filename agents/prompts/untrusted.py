"""Words that come from a video, as data: delimited, short, with nothing in them that could pass for anything else."""

from __future__ import annotations

from collections.abc import Iterable

from tools.base import Fact
from tools.video.sampling import format_seconds

_LONGEST = 500  # characters of one line
_MOST = 8000  # characters of all lines of one observation: about 2,000 tokens, Ego-R1's limit

# What calls, tags and turns of any model are written with, as signs that look alike and mean nothing.
_INERT = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "[": "(", "]": ")", "`": "'", "|": "/"})


def quote_facts(facts: Iterable[Fact]) -> str:
    """Facts as lines between marks, each after its seconds; "" if there are none.

    Every line begins with seconds, so none can begin with the name of a tool or with "Answer:".
    """
    lines: list[str] = []
    length = left_out = 0
    for fact in facts:
        line = f"{format_seconds(fact.start)}-{format_seconds(fact.end)}: {sanitise(fact.text)}"
        length += len(line)
        if length > _MOST:
            left_out += 1
        else:
            lines.append(line)
    if left_out:
        lines.append(f"and {left_out} more")
    return "\n".join(["<data>", *lines, "</data>"]) if lines else ""


def sanitise(text: str) -> str:
    """One line of plain words: no control characters, no signs of tags, turns or calls."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    short = plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
    return short.translate(_INERT)
