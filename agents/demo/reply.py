"""What the model is taught to say: the thought that leads to an answer, and the answer itself."""

from __future__ import annotations

from agents.demo.questions import DemoQuestion
from agents.demo.view import View
from agents.prompts import label

UNSEEN = "not seen"


def transcript(view: View) -> str:
    """What the frames show, run by run: `<0.0s> red star; <2.5s> blue circle`."""
    return "; ".join(f"{label(run.time)} {run.what}" for run in view.runs)


def conclusion(question: DemoQuestion, view: View) -> str:
    """The fact that answers the question, or that it was not seen: `the star blue`."""
    if question.kind == "count":
        times = ", ".join(label(run.time) for run in view.runs if counts(question, run.what))
        return f"{question.subject} {times or UNSEEN}: {question.answer}"
    if not seen(question, view):
        return f"{question.subject} {UNSEEN}"
    return f"{question.subject} {question.answer}"


def counts(question: DemoQuestion, what: str) -> bool:
    """Whether a run that shows `what` counts for the question: `a star`, `a red shape`."""
    return question.subject.split()[1] in what.split()


def seen(question: DemoQuestion, view: View) -> bool:
    """Whether a viewer of these frames has an answer. It may be wrong: a shot in between can be missed."""
    inside = [shot for shot in view.shots if any(a <= shot.start < b for a, b in question.evidence)]
    if question.kind == "moves":
        return any(view.shows_motion(shot) for shot in inside)
    if question.kind == "after":
        start = question.evidence[0][0]
        return any(shot.start == start for shot in inside) and any(shot.start > start for shot in view.shots)
    if question.kind == "appears":
        return question.answer == "yes" and bool(inside)
    return bool(inside) or question.kind in ("first", "last")


def known(question: DemoQuestion, view: View) -> bool:
    """Whether these frames prove the answer: everything that the evidence names is in them."""
    needed = [s for s in view.film.shots if any(a <= s.start < b for a, b in question.evidence)]
    if question.kind == "appears" and question.answer == "no":
        return True
    if question.kind == "moves":
        return all(view.shows_motion(shot) for shot in needed)
    return view.shots.issuperset(needed)
