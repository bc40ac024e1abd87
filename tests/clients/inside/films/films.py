"""What the task's description calls."""

from __future__ import annotations

from typing import Any

Question = dict[str, Any]


def shown(question: Question) -> list[str]:
    return [question["film"]]


def asked(question: Question, _: object = None) -> str:
    return str(question["text"])


def judged(question: Question, replies: list[str]) -> dict[str, float]:
    return {"accuracy": float(replies[0].strip() == question["letter"])}
