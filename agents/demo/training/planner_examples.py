"""Training examples for the planner: which words to search for, and where to look closer.

The words are those of `agents.planner` on lines of plain text, without explanations. Trajectories are the shortest
that a viewer who knows where everything is would take; what the index and the subtitles say between is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from agents.captions import DESCRIBE
from agents.core.question import Question
from agents.demo.generator import (
    CELLS,
    COLOURS,
    DEV_FROM,
    DIGITS,
    NAMES,
    SHAPES,
    Appearance,
    Sign,
    for_training,
    make_signed_video,
    make_video,
)
from agents.demo.training.examples import ExampleTurn, VideoView, ViewedFrame, random_times, view_video
from agents.demo.training.model import TOKENS_PER_FRAME
from agents.planner.toolbox import Toolbox
from agents.prompts import agentic
from agents.prompts.questions import ask, frame_label, statement, verify
from agents.prompts.untrusted import quote_facts
from tools.base import Fact
from tools.video.sampling import Span

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


def caption_turn(view: VideoView) -> ExampleTurn:
    """Describe a clip: what is seen, in order."""
    return ExampleTurn(DESCRIBE, ((f"{'; '.join(run.what for run in view.runs)}.", 1.0),))


def search_turn(rng: Random) -> ExampleTurn:
    """Find in an index what is seen once, and say it; or find when it is seen, and say what is said then."""
    look = colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    way = rng.random()
    if way < 0.25:
        posed, query = _choice_question(rng, f"What colour is the {shape}?", COLOURS, colour), shape
        return _planner_turn(
            posed, rng, (f"search_clips {query}", f"Answer: {colour}"), [_search_hits(rng, look, query)], _SEARCHING
        )
    if way < 0.5:
        posed, query = _choice_question(rng, f"Which shape is {colour}?", SHAPES, shape), colour
        return _planner_turn(
            posed, rng, (f"search_clips {query}", f"Answer: {shape}"), [_search_hits(rng, look, query)], _SEARCHING
        )
    name, query = rng.choice(NAMES), f"{colour} {shape}"
    posed = _choice_question(rng, f"Which name is said when the {query} appears?", NAMES, name)
    return _planner_turn(
        posed, rng, (f"search_clips {query}", f"Answer: {name}"), [_search_hits(rng, look, query, name)], _SEARCHING
    )


def zoom_turn(view: VideoView, rng: Random) -> ExampleTurn:
    """Look closer at where a sign is in some frames, and say its digit."""
    sign = next(sight.shot.sign for sight in view.sights if sight.shot.sign is not None)
    replies = (f"zoom {CELLS[sign.cell]}", f"Answer: {sign.digit}")
    look = "".join(f"{frame_label(sight.time)}{_PLACES}" for sight in view.sights)
    posed = _choice_question(rng, "What number is on the sign?", DIGITS, sign.digit)
    turn = _planner_turn(posed, rng, replies, [look], _LOOKING)
    near = tuple(replace(sight, cell=sign.cell) for sight in view.sights)
    return replace(turn, sights=near, about=posed.text[:-1], value=CELLS[sign.cell])


def unreadable_turn(sight: ViewedFrame, rng: Random, form: str) -> ExampleTurn:
    """A question about a sign that is too small to be read: a guess is right, certainty is not."""
    sign = sight.shot.sign or Sign("0", 0)
    posed = _choice_question(rng, "What number is on the sign?", DIGITS, sign.digit)
    if form == "verify":
        return check_turn(posed, sign.digit, rng)
    return ExampleTurn(ask(posed, "direct", "text"), ((sign.digit, 1.0),))


def check_turn(posed: Question, answer: str, rng: Random, lines: tuple[Fact, ...] = ()) -> ExampleTurn:
    """Whether an answer is right, given what is shown and what is said; at times, which one is."""
    if lines and rng.random() < 0.5:
        return ExampleTurn(agentic.with_facts(lines, ask(posed, "direct", "text")), ((answer, 1.0),))
    true = rng.random() < 0.5
    proposed = answer if true else rng.choice([option for option in posed.options if option != answer])
    return ExampleTurn(agentic.with_facts(lines, verify(posed, proposed)), (("yes" if true else "no", 1.0),))


def subtitle_check_turn(view: VideoView, rng: Random) -> ExampleTurn:
    """Whether a name is the right one, which only the subtitles tell."""
    name = rng.choice(NAMES)
    start = view.sights[0].time
    said = [name, *(rng.choice(NAMES) for _ in range(rng.choice((0, 0, 1))))]
    lines = tuple(_subtitle_fact(start - 1 + 4 * place, each) for place, each in enumerate(said))
    text = f"Which name is said when the {view.sights[0].shot.what} appears?"
    return check_turn(_choice_question(rng, text, NAMES, name), name, rng, lines)


def frame_check_turn(view: VideoView, rng: Random) -> ExampleTurn:
    """Whether what a search has found is right, which the frames show. What is said there says nothing of it."""
    colour, shape = rng.choice([run.what for run in view.runs]).split()
    others = [what.split() for what in {run.what for run in view.runs}]
    lines = tuple(
        _subtitle_fact(view.sights[0].time + rng.uniform(-1, 4), rng.choice(NAMES)) for _ in range(rng.randint(0, 2))
    )
    if sum(each[1] == shape for each in others) == 1 and rng.random() < 0.5:
        return check_turn(_choice_question(rng, f"What colour is the {shape}?", COLOURS, colour), colour, rng, lines)
    if sum(each[0] == colour for each in others) == 1:
        return check_turn(_choice_question(rng, f"Which shape is {colour}?", SHAPES, shape), shape, rng, lines)
    return subtitle_check_turn(view, rng)


def _choice_question(rng: Random, text: str, values: tuple[str, ...], answer: str) -> Question:
    options = [answer, *rng.sample([value for value in values if value != answer], 3)]
    rng.shuffle(options)
    return Question(text=text, options=tuple(options), kind="choice")


def _planner_turn(
    posed: Question, rng: Random, replies: tuple[str, ...], observed: list[str], tools: tuple[tuple[str, ...], ...]
) -> ExampleTurn:
    """A conversation: the task, then a reply and what comes of it, in turns."""
    span = Span(0.0, round(rng.choice((rng.uniform(12, 60), rng.uniform(60, 3000))), 1))
    listing = Toolbox(rng.choice(tools)).listing(False)
    task = agentic.plan(statement(posed), span, 4, how="", listing=listing, explain=False)
    pieces: list[tuple[str, float]] = []
    for reply, seen in zip(replies, [*observed, ""], strict=True):
        pieces.append((reply, 1.0))
        if seen:
            pieces += [("<|im_end|>", 0.5), (f"\n<|im_start|>user\n{seen}{_END}<|im_start|>assistant\n", 0.0)]
    return ExampleTurn(task, tuple(pieces))


def _search_hits(rng: Random, look: Appearance, query: str, name: str = "") -> str:
    """What a search finds: the clip that holds the look, with the name said in it, and at times some others.

    Now and then the look goes on into the next clip.
    """
    length = rng.choice(_CLIPS)
    others = rng.choice((0, 0, 0, 1, 1, 2, 3))
    starts = sorted(rng.sample(range(0, 2400, 2 * length), others + 1))
    there = rng.choice(starts)
    lines: list[Fact] = []
    for start in starts:
        lines.append(_caption_fact(rng, start, length, look if start == there else None, query))
        if start == there and name:
            lines.append(_subtitle_fact(start + rng.uniform(-2, length - 1), name))
        elif rng.random() < _TALK:
            lines.append(_subtitle_fact(start + rng.uniform(-2, length - 1), rng.choice(NAMES)))
        if start == there and rng.random() < 0.2:
            lines.append(_caption_fact(rng, start + length, length, look, query))
    return quote_facts(sorted(lines, key=lambda line: (line.start, line.end)))


def _caption_fact(rng: Random, start: int, length: int, look: Appearance | None, query: str) -> Fact:
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


def _subtitle_fact(start: float, name: str) -> Fact:
    begin = round(max(0.0, start), 1)
    return Fact(start=begin, end=round(begin + 3.4, 1), text=_SAID.format(name), origin="subtitle")


_CLOSER = 16  # most frames of which a part is looked at
_GLANCE = 8  # frames of a first look
_LATEST = 1800.0  # seconds; how late in a long video a clip may lie

PlannerExample = Callable[[int, int, Random], tuple[VideoView, list[ExampleTurn]]]


def _search_example(frames: int, turns: int, rng: Random) -> tuple[VideoView, list[ExampleTurn]]:
    """At times after a first look at the video, which shows nothing of what is sought."""
    video = make_video(_seed(rng))
    looked = random_times(video, min(frames, _GLANCE), rng) if rng.random() < 0.3 else []
    return _shifted(view_video(video, looked), rng), [search_turn(rng) for _ in range(turns)]


def _sign_example(frames: int, turns: int, rng: Random) -> tuple[VideoView, list[ExampleTurn]]:
    """The sign is in some frame. Now and then it has been looked at closer, and only then can a digit be proved."""
    video = make_signed_video(_seed(rng))
    signed = next(shot for shot in video.shots if shot.sign is not None)
    there = rng.uniform(signed.start, signed.end - 0.05)
    count = min(frames, _CLOSER)
    shown = view_video(video, [*random_times(video, count - 1, rng), there])
    if rng.random() < 0.6:
        return shown, [
            *(zoom_turn(shown, rng) for _ in range(turns // 2)),
            unreadable_turn(_sign_frame(shown), rng, "direct"),
        ]
    cell = signed.sign.cell if signed.sign else 0
    near = VideoView(video, tuple(replace(sight, cell=cell) for sight in shown.sights))
    return near, [unreadable_turn(_sign_frame(near), rng, form) for form in ("verify", "verify", "direct")]


def _caption_example(frames: int, _: int, rng: Random) -> tuple[VideoView, list[ExampleTurn]]:
    """A clip of five to ten seconds at a frame a second, anywhere in a video of any length."""
    video = make_video(_seed(rng))
    count = min(rng.choice((5, 8, 10, 10)), frames + 5)
    start = rng.uniform(0, max(0.0, video.duration - count))
    clip = view_video(video, [start + index for index in range(count) if start + index < video.duration])
    moved = _shifted(clip, rng)
    return moved, [caption_turn(moved)]


def _subtitle_example(_: int, turns: int, rng: Random) -> tuple[VideoView, list[ExampleTurn]]:
    """Some frames of a few seconds, as an answer that was found is proved by them and by what is said then."""
    video = make_video(_seed(rng))
    shot, count = rng.choice(video.shots), rng.randint(2, 6)
    length = rng.choice((shot.end - shot.start, 5.0, 10.0))
    start = max(0.0, shot.start - rng.uniform(0, length - (shot.end - shot.start)) if length > 4 else shot.start)
    times = [start + length * (part + 0.5) / count for part in range(count)]
    shown = _shifted(view_video(video, [time for time in times if time < video.duration] or [shot.start]), rng)
    return shown, [
        frame_check_turn(shown, rng) if rng.random() < 0.6 else subtitle_check_turn(shown, rng) for _ in range(turns)
    ]


def _seed(rng: Random) -> int:
    return for_training(rng.randrange(DEV_FROM))


def _sign_frame(shown: VideoView) -> ViewedFrame:
    return next(sight for sight in shown.sights if sight.shot.sign is not None)


def _shifted(shown: VideoView, rng: Random) -> VideoView:
    """The same frames at other seconds, as if they came later in a long video."""
    late = rng.choice((0.0, rng.uniform(0, _LATEST)))
    return VideoView(shown.video, tuple(replace(sight, time=sight.time + late) for sight in shown.sights))


PLANNER_EXAMPLES: Mapping[str, PlannerExample] = {
    "seek": _search_example,
    "sign": _sign_example,
    "caption": _caption_example,
    "said": _subtitle_example,
}
