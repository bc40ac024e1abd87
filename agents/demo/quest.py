"""What a planner is taught: which words to search for, which seconds to read, where to look closer.

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
from agents.demo.world import COLOURS, DIGITS, NAMES, SHAPES
from agents.planning.toolbox import Toolbox
from agents.prompts import ask, label, statement, verify
from agents.quoting import quote
from tools.moment import Span
from tools.tool import Fact

_TOOLS = (
    ("search_clips", "read_subtitles"),
    ("search_clips", "read_subtitles", "view", "zoom"),
    ("view", "zoom"),
)
_SAID = "The name is {}."
_END = "<|im_end|>\n"
_PLACES = "<image>" * TOKENS_PER_FRAME
_CLIP = 10  # seconds that a caption in the index is about


def caption(view: View) -> Turn:
    """Describe a clip: what is seen, in order."""
    return Turn(DESCRIBE, ((f"{'; '.join(run.what for run in view.runs)}.", 1.0),))


def seek(rng: Random) -> Turn:
    """Find in an index what is seen once, and say it; or find when it is seen, and read what is said then."""
    colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    way = rng.random()
    if way < 0.25:
        return _found(rng, f"What colour is the {shape}?", COLOURS, colour, (colour, shape), shape)
    if way < 0.5:
        return _found(rng, f"Which shape is {colour}?", SHAPES, shape, (colour, shape), colour)
    return _heard(rng, (colour, shape))


def _found(rng: Random, text: str, values: tuple[str, ...], answer: str, look: Look, query: str) -> Turn:
    lines = [*_captions(rng, look, query, rng.randint(0, 3)), *_speech(rng, rng.choice((0, 0, 1, 3)))]
    replies = (f"search_clips {query}", f"Answer: {answer}")
    return _turn(_posed(rng, text, values, answer), rng, replies, [_data(lines)], tools=_TOOLS[rng.random() < 0.3])


def _heard(rng: Random, look: Look) -> Turn:
    colour, shape = look
    name = rng.choice(NAMES)
    lines = _captions(rng, look, f"{colour} {shape}", rng.randint(0, 5))
    (there,) = [line for line in lines if f"{colour} {shape}" in line.text]
    begin = round(there.start + rng.uniform(-2, _CLIP - 3), 1)
    spoken = Fact(start=max(0.0, begin), end=begin + rng.uniform(2.3, 5), text=_SAID.format(name), origin="subtitle")
    text = f"Which name is said when the {colour} {shape} appears?"
    replies = (f"search_clips {colour} {shape}", f"read_subtitles {there.start:g} {there.end:g}", f"Answer: {name}")
    posed = _posed(rng, text, NAMES, name)
    return _turn(posed, rng, replies, [_data(lines), _data([spoken])], tools=_TOOLS[rng.random() < 0.3])


def closer(view: View, rng: Random) -> Turn:
    """Look closer at a sign that some frames show, and say its digit."""
    seen = [sight for sight in view.sights if sight.shot.sign is not None]
    sight = seen[0]
    sign = sight.shot.sign or Sign("0", 0)
    left, top = (round(part / 3, 2) for part in (sign.cell % 3, sign.cell // 3))
    box = f"{left:g} {top:g} {round(left + 1 / 3, 2):g} {round(top + 1 / 3, 2):g}"
    replies = (f"zoom {label(sight.time)} {box}", f"Answer: {sign.digit}")
    look = f"{label(sight.time)}{_PLACES}"
    posed = _posed(rng, "What number is on the sign?", DIGITS, sign.digit)
    turn = _turn(posed, rng, replies, [look], tools=_TOOLS[1 + (rng.random() < 0.7)])
    return replace(turn, sights=(replace(sight, cell=sign.cell),))


def glance(sight: Sight, rng: Random, form: str) -> Turn:
    """A question about a sign that is too small to be read: a guess is right, sureness is not."""
    sign = sight.shot.sign or Sign("0", 0)
    posed = _posed(rng, "What number is on the sign?", DIGITS, sign.digit)
    if form == "verify":
        return proof(posed, sign.digit, rng)
    return Turn(ask(posed, "direct", "text"), ((sign.digit, 1.0),))


def proof(posed: Question, answer: str, rng: Random, lines: tuple[Fact, ...] = ()) -> Turn:
    """Whether an answer is right, given what is shown and what is said."""
    true = rng.random() < 0.5
    proposed = answer if true else rng.choice([option for option in posed.options if option != answer])
    return Turn(briefing.noted(lines, verify(posed, proposed)), (("yes" if true else "no", 1.0),))


def hearsay(view: View, rng: Random) -> Turn:
    """Whether a name is the right one, which only the subtitles tell."""
    name = rng.choice(NAMES)
    start = view.sights[0].time
    line = Fact(start=max(0.0, start - 1), end=start + 2, text=_SAID.format(name), origin="subtitle")
    text = f"Which name is said when the {view.sights[0].shot.what} appears?"
    return proof(_posed(rng, text, NAMES, name), name, rng, (line,))


def _posed(rng: Random, text: str, values: tuple[str, ...], answer: str) -> Question:
    options = [answer, *rng.sample([value for value in values if value != answer], 3)]
    rng.shuffle(options)
    return Question(text=text, options=tuple(options), kind="choice")


def _turn(
    posed: Question, rng: Random, replies: tuple[str, ...], observed: list[str], *, tools: tuple[str, ...]
) -> Turn:
    """A conversation: the task, then a reply and what comes of it, in turns."""
    span = Span(0.0, round(rng.choice((rng.uniform(12, 60), rng.uniform(60, 3000))), 1))
    listing = Toolbox(tools).listing(False)
    task = briefing.plan(statement(posed), span, 4, how="", listing=listing, explain=False)
    pieces: list[tuple[str, float]] = []
    for reply, seen in zip(replies, [*observed, ""], strict=True):
        pieces.append((reply, 1.0))
        if seen:
            pieces += [("<|im_end|>", 0.5), (f"\n<|im_start|>user\n{seen}{_END}<|im_start|>assistant\n", 0.0)]
    return Turn(task, tuple(pieces))


def _captions(rng: Random, look: Look, query: str, others: int) -> list[Fact]:
    """Captions of different clips in order of time, of which one holds the look, and none of the others the query."""
    starts = sorted(rng.sample(range(0, 2400, _CLIP), others + 1))
    there = rng.choice(starts)
    return [_caption(rng, start, look if start == there else None, query) for start in starts]


def _caption(rng: Random, start: int, look: Look | None, query: str) -> Fact:
    words = query.split()
    several = len(words) > 1
    seen: list[str] = []
    while len(seen) < rng.randint(2, 5):
        other = f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
        hit = other == query if several else query in other.split()
        if not hit and other not in seen[-1:]:
            seen.append(other)
    if look is not None:
        seen.insert(rng.randint(0, len(seen)), " ".join(look))
    return Fact(start=start, end=start + _CLIP, text=f"{'; '.join(seen)}.", origin="caption")


def _speech(rng: Random, count: int) -> list[Fact]:
    begins = [round(rng.uniform(0, 2400), 1) for _ in range(count)]
    said = [_SAID.format(rng.choice(NAMES)) for _ in begins]
    ends = [begin + rng.uniform(2.3, 5) for begin in begins]
    return [Fact(start=b, end=e, text=t, origin="subtitle") for b, e, t in zip(begins, ends, said, strict=True)]


def _data(lines: list[Fact]) -> str:
    return quote(sorted(lines, key=lambda line: line.start))
