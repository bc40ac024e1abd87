"""Evaluate the demo model on unseen videos, through a real codec and the service's own prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from random import Random

import av
import torch
from PIL import Image
from rich.table import Table
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from agents.core.question import Question
from agents.demo.encoder import encode_video
from agents.demo.generator import FPS, DemoVideo, make_video
from agents.demo.questions import DemoQuestion, ask_about
from agents.demo.training.examples import as_open
from agents.demo.training.paraphrases import ANSWER_FORMAT
from agents.parsing.answers import parse_answer
from agents.prompts.questions import AnswerStyle, ask, frame_label, verify

TimedImages = Sequence[tuple[float, Image.Image]]


class DemoCheckpoint:
    """Answers questions about timed frames."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.model = LlavaForConditionalGeneration.from_pretrained(weights, dtype=torch.float32).to(device).eval()
        self.processor = LlavaProcessor.from_pretrained(weights)
        self.device = device

    @torch.inference_mode()
    def probabilities(self, frames: TimedImages, text: str, choices: Sequence[str]) -> list[float]:
        """Probability of each choice as the whole of the reply's first token, among the choices alone."""
        logits = self.model(**self._inputs([(frames, text)]), logits_to_keep=1).logits[0, -1].float()
        ids = [self._only_token(choice) for choice in choices]
        shares: list[float] = torch.softmax(logits[ids], 0).tolist()
        return shares

    @torch.inference_mode()
    def replies(
        self, asked: Sequence[tuple[TimedImages, str]], temperature: float = 0.0, longest: int = 140
    ) -> list[str]:
        """One reply to each prompt, drawn together."""
        inputs = self._inputs(asked)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        output = self.model.generate(**inputs, max_new_tokens=longest, **sampling)
        fresh = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self.processor.batch_decode(fresh, skip_special_tokens=True)
        return texts

    def _inputs(self, asked: Sequence[tuple[TimedImages, str]]) -> dict[str, torch.Tensor]:
        prompts = [self._prompt(frames, text) for frames, text in asked]
        pictures = [picture for frames, _ in asked for _, picture in frames]
        inputs = self.processor(images=pictures, text=prompts, return_tensors="pt", padding=True)
        return {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask", "pixel_values")}

    def _prompt(self, frames: TimedImages, text: str) -> str:
        parts: list[dict[str, str]] = []
        for time, _ in frames:
            parts += [{"type": "text", "text": frame_label(time)}, {"type": "image"}]
        parts.append({"type": "text", "text": f"\n{text}"})
        prompt: str = self.processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        return prompt

    def _only_token(self, text: str) -> int:
        (token,) = self.processor.tokenizer.encode(text, add_special_tokens=False)
        return int(token)


class EncodedVideos:
    """Encodes videos into a folder once and shows their decoded frames."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def screen(self, video: DemoVideo) -> list[Image.Image]:
        """Every frame of the video, after a round trip through H.264."""
        path = self.folder / f"{video.seed}.mp4"
        if not path.exists():
            fresh = path.with_suffix(".new")
            encode_video(video, fresh)
            fresh.replace(path)
        with av.open(path) as container:
            return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def grid_frames(video: DemoVideo, images: list[Image.Image], count: int) -> list[tuple[float, Image.Image]]:
    """`count` frames of the nested grid t = T·i/n, each with its second."""
    times = [video.duration * i / count for i in range(count)]
    return [(time, images[min(int(time * FPS + 1e-6), len(images) - 1)]) for time in times]


_QUESTIONS_PER_VIDEO = 5  # questions asked about each video


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """One question answered once. `confidence` is the probability of the answer given; None if it has none."""

    kind: str
    style: str
    frames: int
    right: bool
    confidence: float | None
    said: str


def as_service_question(question: DemoQuestion) -> Question:
    """As the service would ask it: multiple choice, or yes or no."""
    if not question.options:
        return as_open(question)
    return Question(text=question.text, options=question.options, kind="choice")


def evaluate_checkpoint(
    checkpoint: DemoCheckpoint,
    encoded: EncodedVideos,
    seeds: Iterable[int],
    counts: Sequence[int],
    styles: Sequence[str],
) -> Iterator[EvaluationResult]:
    """The results of all questions about these videos."""
    for seed in seeds:
        video = make_video(seed)
        images = encoded.screen(video)
        questions = ask_about(video, _QUESTIONS_PER_VIDEO)
        for count in counts:
            frames = grid_frames(video, images, count)
            for style in styles:
                yield from _answer(checkpoint, frames, questions, style)


def _answer(
    checkpoint: DemoCheckpoint, frames: TimedImages, questions: list[DemoQuestion], style: str
) -> Iterator[EvaluationResult]:
    if style == "think":
        yield from _think(checkpoint, frames, questions)
        return
    for question in questions:
        yield (_direct if style == "direct" else _check)(checkpoint, frames, question)


def _direct(checkpoint: DemoCheckpoint, frames: TimedImages, question: DemoQuestion) -> EvaluationResult:
    asked = as_service_question(question)
    words = [asked.display(value) for value in asked.values]
    shares = checkpoint.probabilities(frames, ask(asked, "direct", ANSWER_FORMAT), words)
    best = max(range(len(shares)), key=shares.__getitem__)
    said = words[best]
    return EvaluationResult(question.kind, "direct", len(frames), said == question.answer, shares[best], said)


def _check(checkpoint: DemoCheckpoint, frames: TimedImages, question: DemoQuestion) -> EvaluationResult:
    """Verification of the true answer or, for every second question, of a wrong one."""
    rng = Random(f"check {question.text} {len(frames)}")
    wrong = [value for value in question.options or ("yes", "no") if value != question.answer]
    true = rng.random() < 0.5
    proposed = question.answer if true else rng.choice(wrong)
    text = verify(as_open(question), proposed)
    yes, _ = checkpoint.probabilities(frames, text, ("yes", "no"))
    return EvaluationResult(question.kind, "verify", len(frames), (yes > 0.5) == true, yes, "true" if true else "false")


def _think(
    checkpoint: DemoCheckpoint, frames: TimedImages, questions: list[DemoQuestion]
) -> Iterator[EvaluationResult]:
    style: AnswerStyle = "think"
    replies = checkpoint.replies(
        [(frames, ask(as_service_question(question), style, ANSWER_FORMAT)) for question in questions]
    )
    for question, reply in zip(questions, replies, strict=True):
        asked = as_service_question(question)
        value = parse_answer(asked, reply)
        right = value is not None and asked.display(value) == question.answer
        yield EvaluationResult(question.kind, "think", len(frames), right, None, "unparsed" if value is None else reply)


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def calibration_error(results: Sequence[EvaluationResult]) -> float:
    """Expected gap between confidence and accuracy, over ten equal bins of confidence."""
    error = 0.0
    for low in range(10):
        held = [m for m in results if m.confidence is not None and min(int(m.confidence * 10), 9) == low]
        error += abs(sum(m.right for m in held) - sum(m.confidence or 0.0 for m in held))
    return error / len(results)


def auroc(results: Sequence[EvaluationResult]) -> float:
    """Area under the curve: how often a true proposal is rated above a false one."""
    true = [m.confidence or 0.0 for m in results if m.said == "true"]
    false = [m.confidence or 0.0 for m in results if m.said == "false"]
    wins = sum((t > f) + 0.5 * (t == f) for t in true for f in false)
    return wins / (len(true) * len(false))


def result_tables(results: Sequence[EvaluationResult]) -> Iterator[Table]:
    """By number of frames, then by kind of question at each number of frames."""
    for style in dict.fromkeys(result.style for result in results):
        chosen = [result for result in results if result.style == style]
        yield _table(f"{style}, by frames", chosen, lambda result: f"{result.frames:3d} frames")
        yield _table(f"{style}, by kind", chosen, lambda result: f"{result.kind} at {result.frames}")


def _table(title: str, results: Sequence[EvaluationResult], key: Callable[[EvaluationResult], str]) -> Table:
    table = Table("", "questions", "right", "95 %", "confidence", "ECE", "AUC", "unparsed", title=title)
    for name in sorted({key(result) for result in results}):
        table.add_row(name, *_cells([result for result in results if key(result) == name]))
    return table


def _cells(results: Sequence[EvaluationResult]) -> list[str]:
    right = sum(result.right for result in results)
    low, high = wilson_interval(right, len(results))
    sure = [result.confidence for result in results if result.confidence is not None]
    checks = {result.said for result in results} >= {"true", "false"}
    rated = bool(sure) and results[0].style == "direct"
    return [
        str(len(results)),
        f"{right / len(results):.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{sum(sure) / len(sure):.3f}" if rated else "",
        f"{calibration_error(results):.3f}" if rated else "",
        f"{auroc(results):.3f}" if checks else "",
        str(sum(result.said == "unparsed" for result in results)),
    ]
