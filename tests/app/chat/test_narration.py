"""What a run does, in words."""

from __future__ import annotations

from typing import Any

import pytest

from agents.trace import Asked, Began, Ended, Event, Looked, Noted, Proposed, Stopped, Used
from app.chat.narration import narrate, narrative


def asked(purpose: str, *replies: str) -> Asked:
    bill: dict[str, Any] = {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1, "seconds": 0.1}
    return Asked(purpose=purpose, times=(), replies=replies, **bill)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Began(span="samples 1-5"), "Samples 1-5:\n"),
        (Ended(span="samples 1-5"), ""),
        (Looked(times=(1.0, 3.5), seconds=0.1), "Looked at 2 frames from 1.0 to 3.5 s.\n"),
        (Looked(times=(1.0,), seconds=0.1), "Looked at 1 frame from 1.0 to 1.0 s.\n"),
        (Looked(times=(), seconds=0.1), ""),
        (asked("think", "It is red. \nAnswer: A", "Answer: B"), "It is red. \nAnswer: A\nAnswer: B\n"),
        (asked("direct", "A star."), ""),
        (asked("verify", "yes"), "Asked to verify: yes\n"),
        (Used(tool="zoom", arguments={}, summary="one frame", seconds=0.1), "Used zoom: one frame\n"),
        (Proposed(answer="red", confidence=0.876), "Best answer so far: red (88% sure)\n"),
        (Proposed(answer="red", confidence=None), "Best answer so far: red\n"),
        (Proposed(answer=None, confidence=None), ""),
        (Noted(text="The run begins again."), "The run begins again.\n"),
        (Stopped(reason="agreed"), ""),
    ],
)
def test_in_words(event: Event, words: str) -> None:
    assert narrate(event) == words


def test_nothing_to_say_is_nothing() -> None:
    assert narrative([Stopped(reason="agreed")]) is None
    assert narrative([Began(span="a"), Noted(text="b")]) == "A:\nb\n"
