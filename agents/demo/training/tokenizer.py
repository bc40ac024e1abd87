"""The tokenizer: byte-level BPE over the demo vocabulary and ChatML turns; and how to extend a model's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from zlib import crc32

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.generator import DIRECTIONS, NAMES, SEEN, make_signed_video, make_video
from agents.demo.questions import ask_about
from agents.demo.training.examples import FORMS, make_turn, random_times, view_video
from agents.demo.training.model import new_model
from agents.demo.training.paraphrases import system_text
from agents.demo.training.planner_examples import caption_turn, search_turn, subtitle_check_turn, zoom_turn

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")
_SIZE = 1024

# `<12` and `.5s>` are pieces of their own, so that a time label is two tokens in prompts and thoughts alike.
_PIECES = r"[;:,] (?=<\d)| (?=<\d)|<\d+|\.\d+s>| ?[A-Za-z_]+| ?\d|\n| ?[^\sA-Za-z\d]|\s"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def new_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer. It is a pure function of the world and its wording."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<image>"],
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": "<image>"},
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def _corpus() -> Iterator[str]:
    rng = Random("tokens")
    for seed in range(600):
        video = make_video(seed)
        seen = view_video(video, random_times(video, 16, rng))
        yield f"user\nassistant\nsystem\n{system_text(rng) or ''}"
        for question in ask_about(video, 6):
            for form in FORMS:
                taught = make_turn(question, seen, form, rng)
                yield taught.ask
                yield "".join(text for text, _ in taught.reply)
    yield from _planner_corpus()
    yield from _word_corpus()


def _planner_corpus() -> Iterator[str]:
    rng = Random("quests")
    for seed in range(1500):
        video = make_signed_video(seed)
        signed = next(shot for shot in video.shots if shot.sign is not None)
        seen = view_video(video, [signed.start + 0.1])
        for taught in (search_turn(rng), zoom_turn(seen, rng), caption_turn(seen), subtitle_check_turn(seen, rng)):
            yield taught.ask
            yield "".join(text for text, _ in taught.reply)


def _word_corpus() -> Iterator[str]:
    """Everything that must be one token, often enough to become one."""
    words = (*SEEN, *NAMES, *DIRECTIONS, *"yes no not seen Answer Question A B C D E F".split())
    for _ in range(60):
        yield " ".join(words) + "\n" + "\n".join(words)
        yield "".join(f"<{second}.{second % 10}s>" for second in range(100))


def word_ids(words: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The token of each word, as it stands in a sentence."""
    return [int(tokenizer.encode(f" {word}", add_special_tokens=False)[-1]) for word in words]


def extend_vocab(
    model: LlavaForConditionalGeneration, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """The same model with the words of another tokenizer."""
    grown = new_model(new)
    table = model.get_input_embeddings().weight.detach()
    known, spread = old.get_vocab(), float(table.std())
    rows = [
        table[known[token]] if token in known else new_token_vector(token, table.shape[1], spread)
        for token in sorted(new.get_vocab(), key=new.get_vocab().get)
    ]
    state = dict(model.state_dict())
    for name in [name for name, value in state.items() if value.shape == table.shape]:
        state[name] = torch.stack(rows)
    grown.load_state_dict(state)
    return grown


def new_token_vector(token: str, width: int, spread: float) -> Tensor:
    """A random embedding for a new word: always the same for the same word."""
    generator = torch.Generator().manual_seed(crc32(token.encode()))
    return torch.randn(width, generator=generator) * spread
