"""What a planner is taught: which words to search for, and where to look closer.

The words are those of `agents.planning` on lines of plain text, without explanations. Trajectories are the shortest
that a viewer who knows where everything is would take; what the index and the subtitles say between is made up.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from agents import briefing
from agents.answer import Question
from agents.captioning import DESCRIBE
from agents.demo.film import Look, Sign
from agents.demo.lesson import Turn
from agents.demo.model import TOKENS_PER_FRAME
from agents.demo.view import Sight, View
from agents.demo.world import CELLS, COLOURS, DIGITS, NAMES, SHAPES
from agents.planning.toolbox import Toolbox
from agents.prompts import ask, label, statement, verify
from agents.quoting import quote
from tools.moment import Span
from tools.tool import Fact

_SEARCHING: tuple[tuple[str, ...], ...] = (
    ("search_clips",),
    ("search_clips", "view"),
    ("search_clips", "read_subtitles", "view", "zoom"),
    ("search_clips", "read_subtitles", "view", "zoom", "ask"),
)
_LOOKING: tuple[tuple[str, ...], ...] = (("zoom",), ("view", "zoom"), _SEARCHING[2], _SEARCHING[3])
_SAID = "The name is {}."
_END = "<|im_end|>\n"
_PLACES = "<image>" * TOKENS_PER_FRAME
_CLIPS = (5, 5, 10)  # seconds that a caption in the index is about
_TALK = 0.15  # how often somebody speaks in a clip that is found by mistake


def caption(view: View) -> Turn:
    """Describe a clip: what is seen, in order."""
    return Turn(DESCRIBE, ((f"{'; '.join(run.what for run in view.runs)}.", 1.0),))


def seek(rng: Random) -> Turn:
    """Find in an index what is seen once, and say it; or find when it is seen, and say what is said then."""
    look = colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    way = rng.random()
    if way < 0.25:
        posed, query = _posed(rng, f"What colour is the {shape}?", COLOURS, colour), shape
        return _turn(posed, rng, (f"search_clips {query}", f"Answer: {colour}"), [_hits(rng, look, query)], _SEARCHING)
    if way < 0.5:
        posed, query = _posed(rng, f"Which shape is {colour}?", SHAPES, shape), colour
        return _turn(posed, rng, (f"search_clips {query}", f"Answer: {shape}"), [_hits(rng, look, query)], _SEARCHING)
    name, query = rng.choice(NAMES), f"{colour} {shape}"
    posed = _posed(rng, f"Which name is said when the {query} appears?", NAMES, name)
    return _turn(posed, rng, (f"search_clips {query}", f"Answer: {name}"), [_hits(rng, look, query, name)], _SEARCHING)


def closer(view: View, rng: Random) -> Turn:
    """Look closer at where a sign is in some frames, and say its digit."""
    sign = next(sight.shot.sign for sight in view.sights if sight.shot.sign is not None)
    replies = (f"zoom {CELLS[sign.cell]}", f"Answer: {sign.digit}")
    look = "".join(f"{label(sight.time)}{_PLACES}" for sight in view.sights)
    posed = _posed(rng, "What number is on the sign?", DIGITS, sign.digit)
    turn = _turn(posed, rng, replies, [look], _LOOKING)
    near = tuple(replace(sight, cell=sign.cell) for sight in view.sights)
    return replace(turn, sights=near, about=posed.text[:-1], value=CELLS[sign.cell])


def glance(sight: Sight, rng: Random, form: str) -> Turn:
    """A question about a sign that is too small to be read: a guess is right, sureness is not."""
    sign = sight.shot.sign or Sign("0", 0)
    posed = _posed(rng, "What number is on the sign?", DIGITS, sign.digit)
    if form == "verify":
        return proof(posed, sign.digit, rng)
    return Turn(ask(posed, "direct", "text"), ((sign.digit, 1.0),))


def proof(posed: Question, answer: str, rng: Random, lines: tuple[Fact, ...] = ()) -> Turn:
    """Whether an answer is right, given what is shown and what is said; at times, which one is."""
    if lines and rng.random() < 0.5:
        return Turn(briefing.noted(lines, ask(posed, "direct", "text")), ((answer, 1.0),))
    true = rng.random() < 0.5
    proposed = answer if true else rng.choice([option for option in posed.options if option != answer])
    return Turn(briefing.noted(lines, verify(posed, proposed)), (("yes" if true else "no", 1.0),))


def hearsay(view: View, rng: Random) -> Turn:
    """Whether a name is the right one, which only the subtitles tell."""
    name = rng.choice(NAMES)
    start = view.sights[0].time
    said = [name, *(rng.choice(NAMES) for _ in range(rng.choice((0, 0, 1))))]
    lines = tuple(_line(start - 1 + 4 * place, each) for place, each in enumerate(said))
    text = f"Which name is said when the {view.sights[0].shot.what} appears?"
    return proof(_posed(rng, text, NAMES, name), name, rng, lines)


def glimpsed(view: View, rng: Random) -> Turn:
    """Whether what a search has found is right, which the frames show. What is said there says nothing of it."""
    colour, shape = rng.choice([run.what for run in view.runs]).split()
    others = [what.split() for what in {run.what for run in view.runs}]
    lines = tuple(_line(view.sights[0].time + rng.uniform(-1, 4), rng.choice(NAMES)) for _ in range(rng.randint(0, 2)))
    if sum(each[1] == shape for each in others) == 1 and rng.random() < 0.5:
        return proof(_posed(rng, f"What colour is the {shape}?", COLOURS, colour), colour, rng, lines)
    if sum(each[0] == colour for each in others) == 1:
        return proof(_posed(rng, f"Which shape is {colour}?", SHAPES, shape), shape, rng, lines)
    return hearsay(view, rng)


def _posed(rng: Random, text: str, values: tuple[str, ...], answer: str) -> Question:
    options = [answer, *rng.sample([value for value in values if value != answer], 3)]
    rng.shuffle(options)
    return Question(text=text, options=tuple(options), kind="choice")


def _turn(
    posed: Question, rng: Random, replies: tuple[str, ...], observed: list[str], tools: tuple[tuple[str, ...], ...]
) -> Turn:
    """A conversation: the task, then a reply and what comes of it, in turns."""
    span = Span(0.0, round(rng.choice((rng.uniform(12, 60), rng.uniform(60, 3000))), 1))
    listing = Toolbox(rng.choice(tools)).listing(False)
    task = briefing.plan(statement(posed), span, 4, how="", listing=listing, explain=False)
    pieces: list[tuple[str, float]] = []
    for reply, seen in zip(replies, [*observed, ""], strict=True):
        pieces.append((reply, 1.0))
        if seen:
            pieces += [("<|im_end|>", 0.5), (f"\n<|im_start|>user\n{seen}{_END}<|im_start|>assistant\n", 0.0)]
    return Turn(task, tuple(pieces))


def _hits(rng: Random, look: Look, query: str, name: str = "") -> str:
    """What a search finds: the clip that holds the look, with the name said in it, and at times some others.

    Now and then the look goes on into the next clip.
    """
    length = rng.choice(_CLIPS)
    others = rng.choice((0, 0, 0, 1, 1, 2, 3))
    starts = sorted(rng.sample(range(0, 2400, 2 * length), others + 1))
    there = rng.choice(starts)
    lines: list[Fact] = []
    for start in starts:
        lines.append(_caption(rng, start, length, look if start == there else None, query))
        if start == there and name:
            lines.append(_line(start + rng.uniform(-2, length - 1), name))
        elif rng.random() < _TALK:
            lines.append(_line(start + rng.uniform(-2, length - 1), rng.choice(NAMES)))
        if start == there and rng.random() < 0.2:
            lines.append(_caption(rng, start + length, length, look, query))
    return quote(sorted(lines, key=lambda line: (line.start, line.end)))


def _caption(rng: Random, start: int, length: int, look: Look | None, query: str) -> Fact:
    """What one clip shows. One that is found by mistake has some of the words of the query."""
    words = query.split()
    seen: list[str] = []
    count = rng.randint(1, 1 + length // 3)
    while len(seen) < count:
        other = f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
        hit = other == query if len(words) > 1 else query in other.split()
        near = bool(seen) or look is not None or len(words) == 1 or any(word in words for word in other.split())
        if not hit and near and other not in seen[-1:]:
            seen.append(other)
    if look is not None:
        seen.insert(rng.randint(0, len(seen)), " ".join(look))
    return Fact(start=start, end=start + length, text=f"{'; '.join(seen)}.", origin="caption")


def _line(start: float, name: str) -> Fact:
    begin = round(max(0.0, start), 1)
    return Fact(start=begin, end=round(begin + 3.4, 1), text=_SAID.format(name), origin="subtitle")
