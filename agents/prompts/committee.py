"""What the stages of committees say to the model."""

from __future__ import annotations

from collections.abc import Iterable

from agents.prompts.agentic import join_parts, quote_reply, weigh_evidence
from tools.base import Fact

SCENES = "List the scenes of this film: from which second to which, and what is seen."
LOOK_FOR = {
    "text": "what has to do with this question: {}",
    "graph": "who and what is there, and who does what with whom or what, with regard to this question: {}",
}


def roles(question: str) -> str:
    """Ask whether a moment has to be found before the question can be answered."""
    return join_parts(
        question,
        "Does one have to find a certain moment of the film first? If so, describe that moment as a search query.",
    )


def ground(query: str) -> str:
    """Ask when something is seen."""
    return f"When do these frames show this: {query}? List spans of seconds, the likeliest first."


def opinions(question: str, said_by: Iterable[tuple[str, str]], known: Iterable[Fact]) -> str:
    """The question with what others say about it."""
    return join_parts(weigh_evidence(question, known), *(quote_reply(f"member {who}", words) for who, words in said_by))


def consult(question: str) -> str:
    """Ask whom to consult."""
    return join_parts(
        question,
        "Which helpers could tell what the frames do not: captions, subtitles (what is said), ocr (what is written)?"
        " Name only those that are needed, and what to search for.",
    )


def criticise(question: str, draft: str, known: Iterable[Fact]) -> str:
    """Ask what an answer lacks."""
    return join_parts(
        weigh_evidence(question, known),
        quote_reply("answer", draft),
        "What must be known to be sure of this answer, and is not? Ask one to three short questions, or none.",
    )


def evaluate(question: str, draft: str, known: Iterable[Fact]) -> str:
    """Ask for marks."""
    return join_parts(
        weigh_evidence(question, known),
        quote_reply("answer", draft),
        "Give marks from 0 to 5: does it fit what is seen, the order of time, the options; is the reasoning specific,"
        " the language precise? Then a reward from 0 to 1 for the whole.",
    )


_STANCES = {
    "conservative": "Keep the reasoning; change only the answer, and only if it is wrong.",
    "neutral": "Correct what is wrong about who and what takes part, then answer.",
    "aggressive": "Reason anew from the evidence, as if there were no answer yet.",
}


def revise(question: str, stance: str, draft: str, marks: str, known: Iterable[Fact]) -> str:
    """Ask for a revision from a stance."""
    how = f"{_STANCES[stance]} Say how sure you are, from 0 to 1."
    return join_parts(weigh_evidence(question, known), quote_reply("answer", draft), quote_reply("marks", marks), how)


def targets(question: str) -> str:
    """Ask for things to look for."""
    return join_parts(question, "Name up to four things that can be seen and whose presence would help to answer.")


def compare(question: str, draft: str, known: Iterable[Fact]) -> str:
    """Ask whether what was told contradicts the answer."""
    return join_parts(
        weigh_evidence(question, known),
        quote_reply("answer", draft),
        "Does the evidence contradict this answer? Say why.",
    )


def doubts(question: str, draft: str, reasoning: str, known: Iterable[Fact]) -> str:
    """Ask for questions that would settle a contradiction."""
    return join_parts(
        weigh_evidence(question, known),
        quote_reply("answer", draft),
        quote_reply("reasoning", reasoning),
        "Ask up to three questions, each about some seconds of the film alone, that would settle the contradiction.",
    )
