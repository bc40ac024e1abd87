"""From examples to tensors. All turns about a video share its frames: a trunk with branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from agents.demo.training.examples import ExampleTurn, VideoView
from agents.demo.training.model import TOKENS_PER_FRAME
from agents.prompts.questions import frame_label


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """Token ids of one turn, their weights in the loss, and hints: the word to have in mind at a place."""

    ids: list[int]
    weights: list[float]
    hints: dict[int, int]


@dataclass(frozen=True, slots=True)
class TokenTree:
    """One video: the ids of its frames, then its turns."""

    trunk: list[int]
    branches: list[TurnTokens]

    @property
    def longest(self) -> int:
        """Length of the longest turn."""
        return max(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One training step: frames as `pixels` or, without the vision tower, as two `words` each."""

    ids: Tensor
    places: Tensor
    weights: Tensor
    hints: Tensor
    trunk_mask: Tensor
    branches: int
    pixels: Tensor | None
    words: Tensor | None

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """For each token the one to say next, and its weight. A branch's last token says nothing."""
        following = torch.roll(self.ids, -1, 1)
        weights = torch.roll(self.weights, -1, 1)
        trunk = self.trunk_mask.shape[1]
        length = (self.ids.shape[1] - trunk) // self.branches
        weights[:, trunk - 1 :: length] = 0.0
        weights[:, :trunk] = 0.0
        return following, weights


def frame_placeholders(view: VideoView) -> str:
    """Frames as their time labels and places for the tokens of their pictures."""
    picture = "<image>" * TOKENS_PER_FRAME
    return "".join(f"{frame_label(sight.time)}{picture}" for sight in view.sights)


def make_tree(
    frames: str, turns: Sequence[ExampleTurn], system: str | None, tokenizer: PreTrainedTokenizerFast
) -> TokenTree:
    """Lay out one video and its turns."""
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    shown = f"{frames}\n" if frames else ""
    trunk = token_ids(tokenizer, f"{head}<|im_start|>user\n{shown}")
    return TokenTree(trunk, [_turn_tokens(turn, tokenizer) for turn in turns])


def _turn_tokens(turn: ExampleTurn, tokenizer: PreTrainedTokenizerFast) -> TurnTokens:
    branch = TurnTokens([], [], _hints(turn, tokenizer))
    ending = ("<|im_end|>", turn.reply[-1][1] / 4)
    for text, weight in [(f"{turn.ask}<|im_end|>\n<|im_start|>assistant\n", 0.0), *turn.reply, ending]:
        ids = token_ids(tokenizer, text)
        if text.startswith("Answer: "):  # to be known before it is said, which makes reading come sooner
            branch.hints[len(branch.ids) - 1] = ids[-1]
        branch.ids.extend(ids)
        branch.weights.extend([weight] * len(ids))
    return branch


def _hints(turn: ExampleTurn, tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """The answer's word should be known where the question ends, and again where the reply begins."""
    if not turn.value:
        return {}
    word = token_ids(tokenizer, f" {turn.value}")[-1]
    asked = turn.ask.index(turn.about) + len(turn.about)
    opened = token_ids(tokenizer, f"{turn.ask}<|im_end|>\n<|im_start|>assistant\n")
    return {len(token_ids(tokenizer, turn.ask[:asked])) - 1: word, len(opened) - 1: word}


def token_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of a text."""
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def padded_size(trees: Sequence[TokenTree]) -> int:
    """Number of tokens that a batch of these trees takes, padding included."""
    if not trees:
        return 0
    turns = max(len(each.branches) for each in trees) * max(each.longest for each in trees)
    return len(trees) * (max(len(each.trunk) for each in trees) + turns)


def collate(
    trees: Sequence[TokenTree], pad: int, pixels: Tensor | None = None, words: Tensor | None = None
) -> TrainingBatch:
    """Pad trunks to one length and turns to another. Videos with fewer turns get empty ones."""
    trunk = max(len(each.trunk) for each in trees)
    count = max(len(each.branches) for each in trees)
    length = max(each.longest for each in trees)
    size = (len(trees), trunk + count * length)
    ids, weights = torch.full(size, pad), torch.zeros(size)
    hints = torch.full(size, -1)
    places, mask = torch.zeros(size, dtype=torch.long), torch.zeros(len(trees), trunk)
    places[:, :trunk] = torch.arange(trunk)
    for row, each in enumerate(trees):
        ids[row, : len(each.trunk)] = torch.tensor(each.trunk)
        mask[row, len(each.trunk) :] = float("-inf")
        places[row, trunk:] = len(each.trunk) + torch.arange(length).repeat(count)
        for number, branch in enumerate(each.branches):
            start = trunk + number * length
            ids[row, start : start + len(branch.ids)] = torch.tensor(branch.ids)
            weights[row, start : start + len(branch.ids)] = torch.tensor(branch.weights)
            for place, word in branch.hints.items():
                hints[row, start + place] = word
    return TrainingBatch(ids, places, weights, hints, mask, count, pixels, words)
