"""The tokenizer: byte-level BPE over the demo world's words, and ChatML turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agents.demo.film import make_film, make_signed_film
from agents.demo.lesson import FORMS, turn
from agents.demo.quest import caption, closer, hearsay, seek
from agents.demo.questions import ask_about
from agents.demo.view import random_times, view
from agents.demo.wording import system_text
from agents.demo.world import DIRECTIONS, NAMES, SEEN

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")
_SIZE = 1024

# `<12` and `.5s>` are pieces of their own, so that a time label is two tokens in prompts and thoughts alike.
_PIECES = r"[;:,] (?=<\d)| (?=<\d)|<\d+|\.\d+s>| ?[A-Za-z_]+| ?\d|\n| ?[^\sA-Za-z\d]|\s"

TEMPLATE = (
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
        chat_template=TEMPLATE,
        padding_side="left",
    )


def _corpus() -> Iterator[str]:
    rng = Random("tokens")
    for seed in range(600):
        film = make_film(seed)
        seen = view(film, random_times(film, 16, rng))
        yield f"user\nassistant\nsystem\n{system_text(rng) or ''}"
        for question in ask_about(film, 6):
            for form in FORMS:
                taught = turn(question, seen, form, rng)
                yield taught.ask
                yield "".join(text for text, _ in taught.reply)
    yield from _quests()
    yield from _words()


def _quests() -> Iterator[str]:
    rng = Random("quests")
    for seed in range(1500):
        film = make_signed_film(seed)
        signed = next(shot for shot in film.shots if shot.sign is not None)
        seen = view(film, [signed.start + 0.1])
        for taught in (seek(rng), closer(seen, rng), caption(seen), hearsay(seen, rng)):
            yield taught.ask
            yield "".join(text for text, _ in taught.reply)


def _words() -> Iterator[str]:
    """Everything that must be one token, often enough to become one."""
    words = (*SEEN, *NAMES, *DIRECTIONS, *"yes no not seen Answer Question A B C D E F".split())
    for _ in range(60):
        yield " ".join(words) + "\n" + "\n".join(words)
        yield "".join(f"<{second}.{second % 10}s>" for second in range(100))


def word_ids(words: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The token of each word, as it stands in a sentence."""
    return [int(tokenizer.encode(f" {word}", add_special_tokens=False)[-1]) for word in words]
