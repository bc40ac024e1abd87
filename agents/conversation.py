"""One question as a prompt: the instructions, what was said before, the pictures, the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.answer import Question
from agents.engine import Message, Picture, Prompt


def opening(question: Question) -> Prompt:
    """What every prompt of a run begins with: instructions and earlier turns, those of one speaker joined."""
    told = (Message("system", (question.instructions,)),) if question.instructions else ()
    turns: list[Message] = []
    for turn in question.history:
        if turns and turns[-1].role == turn.role:
            turns[-1] = replace(turns[-1], parts=(*turns[-1].parts, f"\n{turn.text}"))
        else:
            turns.append(Message(turn.role, (turn.text,)))
    return (*told, *turns)


def compose(pictures: Sequence[Picture], text: str, before: Prompt = ()) -> Prompt:
    """The prompt for one call: pictures first in the user's first turn, so that calls share a long prefix."""
    spoken = [message for message in before if message.role != "system"]
    if spoken and spoken[-1].role == "user":
        said = spoken.pop()
        turns = [*spoken, replace(said, parts=(*said.parts, f"\n{text}"))]
    else:
        turns = [*spoken, Message("user", (text,))]
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    if pictures:
        words, *rest = turns[first].parts
        turns[first] = replace(turns[first], parts=(*pictures, f"\n{words}", *rest))
    return (*(message for message in before if message.role == "system"), *turns)
