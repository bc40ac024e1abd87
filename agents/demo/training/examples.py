"""Training examples: the frames shown of a video and several turns about them, each with the expected reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from agents.core.question import Question
from agents.demo.generator import CELLS, COLOURS, DIRECTIONS, FPS, SHAPES, DemoVideo, Shot
from agents.demo.questions import DemoQuestion
from agents.demo.training.paraphrases import describe_text, fact_text, question_text, verify_text
from agents.prompts.questions import frame_label

_VISIBLE = 24  # pixels of a video that a shape must move between two frames to show its direction


@dataclass(frozen=True, slots=True)
class ViewedFrame:
    """One frame that is shown: its second, its shot, and which frame of the shot it is; or a closer look at a cell."""

    time: float
    shot: Shot
    frame: int
    cell: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What it shows, as the words that it is to be read as.

        A whole frame is its colour and shape, and where a sign is if there is one; a closer look at a cell is the
        sign there with its digit, or nothing.
        """
        sign = self.shot.sign
        if self.cell is not None:
            return ("sign", sign.digit) if sign is not None and sign.cell == self.cell else ()
        seen = (self.shot.colour, self.shot.shape)
        return seen if sign is None else (*seen, "sign", CELLS[sign.cell])


@dataclass(frozen=True, slots=True)
class ViewedRun:
    """A run of frames that look the same: where it begins and what it shows."""

    time: float
    what: str


@dataclass(frozen=True, slots=True)
class VideoView:
    """The frames shown of one video, in order of time."""

    video: DemoVideo
    sights: tuple[ViewedFrame, ...]

    @property
    def shots(self) -> frozenset[Shot]:
        """Shots of which at least one frame is shown."""
        return frozenset(sight.shot for sight in self.sights)

    @property
    def runs(self) -> list[ViewedRun]:
        """What a careful viewer can say, run by run."""
        runs: list[list[ViewedFrame]] = []
        for sight in self.sights:
            if runs and runs[-1][0].shot.what == sight.shot.what:
                runs[-1].append(sight)
            else:
                runs.append([sight])
        return [ViewedRun(run[0].time, run[0].shot.what) for run in runs]

    def shows_motion(self, shot: Shot) -> bool:
        """Whether two frames of the shot are far enough apart to tell its direction."""
        places = [shot.place(sight.frame) for sight in self.sights if sight.shot == shot]
        if not places:
            return False
        (ax, ay), (bx, by) = places[0], places[-1]
        return abs(ax - bx) + abs(ay - by) >= _VISIBLE


def view_video(video: DemoVideo, times: list[float]) -> VideoView:
    """The view of a video at these seconds."""
    sights = []
    for time in sorted(times):
        shot = video.shot_at(time)
        frame = min(int(time * FPS + 1e-6) - shot.first, shot.frames - 1)
        sights.append(ViewedFrame(time, shot, frame))
    return VideoView(video, tuple(sights))


def random_times(video: DemoVideo, count: int, rng: Random) -> list[float]:
    """Seconds as the strategies choose them: a grid, bin centres, jittered bins, a denser look somewhere."""
    way = rng.random()
    if way < 0.35:
        return [video.duration * i / count for i in range(count)]
    if way < 0.5:
        return [video.duration * (i + 0.5) / count for i in range(count)]
    if way < 0.75 or count < 4:
        return [video.duration * (i + rng.uniform(0.05, 0.95)) / count for i in range(count)]
    few = rng.randint(1, count - 1)
    length = rng.uniform(0.1, 0.6) * video.duration
    start = rng.uniform(0, video.duration - length)
    close = [start + length * (i + 0.5) / (count - few) for i in range(count - few)]
    return sorted([video.duration * i / few for i in range(few)] + close)


UNSEEN = "not seen"


def transcript(view: VideoView) -> str:
    """What the frames show, run by run: `<0.0s> red star; <2.5s> blue circle`."""
    return "; ".join(f"{frame_label(run.time)} {run.what}" for run in view.runs)


def conclusion(question: DemoQuestion, view: VideoView) -> str:
    """The fact that answers the question, or that it was not seen: `the star blue`."""
    if question.kind == "count":
        times = ", ".join(frame_label(run.time) for run in view.runs if is_counted(question, run.what))
        return f"{question.subject} {times or UNSEEN}: {question.answer}"
    if not is_seen(question, view):
        return f"{question.subject} {UNSEEN}"
    return f"{question.subject} {question.answer}"


def is_counted(question: DemoQuestion, what: str) -> bool:
    """Whether a run that shows `what` counts for the question: `a star`, `a red shape`."""
    return question.subject.split()[1] in what.split()


def is_seen(question: DemoQuestion, view: VideoView) -> bool:
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


def is_proven(question: DemoQuestion, view: VideoView) -> bool:
    """Whether these frames prove the answer: everything that the evidence names is in them."""
    needed = [s for s in view.video.shots if any(a <= s.start < b for a, b in question.evidence)]
    if question.kind == "appears" and question.answer == "no":
        return True
    if question.kind == "moves":
        return all(view.shows_motion(shot) for shot in needed)
    return view.shots.issuperset(needed)


FORMS = ("think", "fact", "direct", "open", "verify", "describe")
_THOUGHT = 0.25  # weight of a thought's words in the loss; the final answer's is 1


@dataclass(frozen=True, slots=True)
class ExampleTurn:
    """What the user says after the frames, and what to reply: pieces with their weight in the loss.

    `about` is the question within `ask` up to its question mark, and `value` the word that answers it. Pieces without
    weight are what others say in between. `sights` are the pictures shown in this turn alone, in order.
    """

    ask: str
    reply: tuple[tuple[str, float], ...]
    about: str = ""
    value: str = ""
    sights: tuple[ViewedFrame, ...] = ()


def make_turn(question: DemoQuestion, view: VideoView, form: str, rng: Random) -> ExampleTurn:
    """A turn of the given form about a question."""
    if form == "describe":
        return describe_turn(view, rng)
    return replace(_question_turn(question, view, form, rng), about=question.text[:-1], value=question.answer)


def _question_turn(question: DemoQuestion, view: VideoView, form: str, rng: Random) -> ExampleTurn:
    if form == "verify":
        return _verify_turn(question, rng)
    posed = as_choice(question, rng) if form == "direct" or rng.random() < 0.7 else as_open(question)
    final = question.answer
    if form in ("direct", "open"):
        return ExampleTurn(question_text(posed, "direct", rng), ((final, 1.0),))
    fact = conclusion(question, view)
    ask = question_text(posed, "think", rng) if form == "think" else fact_text(posed, rng)
    # A thought is the fact that decides. Whole transcripts were tried before it and not learned: greedy ones loop.
    return ExampleTurn(ask, ((fact, 1.0), (". Answer:", _THOUGHT), (f" {final}", 1.0)))


def describe_turn(view: VideoView, rng: Random) -> ExampleTurn:
    """A turn that asks for everything that is seen."""
    return ExampleTurn(describe_text(rng), ((transcript(view), _THOUGHT),))


def as_choice(question: DemoQuestion, rng: Random) -> Question:
    """The question as multiple choice; now and then with fewer or more options than usual."""
    options = list(question.options or ("yes", "no"))
    if question.options and rng.random() < 0.2:
        others = [value for value in _values(question) if value != question.answer]
        options = [question.answer, *rng.sample(others, rng.randint(1, len(others)))]
    rng.shuffle(options)
    return Question(text=question.text, options=tuple(options), kind="choice")


def as_open(question: DemoQuestion) -> Question:
    """The question without options."""
    kind = {"count": "number", "appears": "yesno"}.get(question.kind, "text")
    return Question.model_validate({"text": question.text, "kind": kind})


def _verify_turn(question: DemoQuestion, rng: Random) -> ExampleTurn:
    true = rng.random() < 0.5
    others = [value for value in question.options or ("yes", "no") if value != question.answer]
    proposed = question.answer if true else rng.choice(others)
    return ExampleTurn(verify_text(as_open(question), proposed, rng), (("yes" if true else "no", 1.0),))


def _values(question: DemoQuestion) -> tuple[str, ...]:
    for values in (COLOURS, SHAPES, DIRECTIONS):
        if question.answer in values:
            return values if question.kind != "after" else question.options
    return question.options
