"""What is written next to a film: everything that is true about it, and questions with their evidence."""

from __future__ import annotations

from typing import Any

from agents.demo.film import Film
from agents.demo.questions import ask_about

_QUESTIONS = 12


def truth(film: Film) -> dict[str, Any]:
    """The film's ground truth in plain data."""
    return {
        "seed": film.seed,
        "duration": round(film.duration, 3),
        "shots": [
            {
                "start": round(shot.start, 3),
                "end": round(shot.end, 3),
                "shape": shot.shape,
                "colour": shot.colour,
                "direction": shot.direction,
            }
            for shot in film.shots
        ],
        "lines": [{"start": round(line.start, 3), "end": round(line.end, 3), "text": line.text} for line in film.lines],
        "questions": [
            {
                "question": question.text,
                "options": list(question.options),
                "answer": question.answer,
                "kind": question.kind,
                "evidence": [[round(start, 3), round(end, 3)] for start, end in question.evidence],
            }
            for question in ask_about(film, _QUESTIONS)
        ],
    }
