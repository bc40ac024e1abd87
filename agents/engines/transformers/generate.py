"""Generate replies and score choices: one prefill with a prefix cache, then all samples in one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.cache_utils import DynamicLayer

from agents.engines.base import EngineError, Prompt, Reply, Sampling, Token, choice_spellings
from agents.engines.transformers.model import Checkpoint, picture_keys


@dataclass(frozen=True, slots=True, eq=False)
class PrefilledPrompt:
    """A prefilled prompt. `logits` predict the next token: (vocabulary,) in float32; `cache` has one row.

    `tokens` is the length of the prompt; `cached` of them came from the prefix cache.
    """

    logits: Tensor
    cache: Any
    tokens: int
    cached: int


@dataclass(frozen=True, slots=True, eq=False)
class _CachedPrompt:
    ids: tuple[int, ...]
    keys: tuple[str, ...]
    cache: Any
    offsets: list[Tensor | None]


class PrefixCache:
    """Prefills prompts, reusing the longest prefix shared with one of the last few.

    A prefix is reused only if both prompts show the same frames and differ after the last of them, and only if every
    layer of the model keeps plain keys and values of the whole prompt. The result is then exact.
    """

    def __init__(self, checkpoint: Checkpoint, remembered: int = 2) -> None:
        self.checkpoint = checkpoint
        self._remembered = remembered
        self._memory: list[_CachedPrompt] = []

    def prefill(self, prompt: Prompt) -> PrefilledPrompt:
        """Run the prompt through the model. Raises EngineError if it is longer than the context."""
        inputs = self.checkpoint.encode(prompt)
        ids: tuple[int, ...] = tuple(inputs["input_ids"][0].tolist())
        longest = self.checkpoint.longest
        if len(ids) >= longest:
            raise EngineError(
                f"the prompt has {len(ids)} tokens; {self.checkpoint.name} reads and writes at most {longest}"
            )
        keys = picture_keys(prompt)
        known, shared = self._recall(ids, keys)
        logits, cache = self._start(inputs) if known is None else self._continue(known, ids, shared)
        if known is not None:
            self._memory.remove(known)
        self._remember(_CachedPrompt(ids, keys, cache, self.checkpoint.offsets))
        return PrefilledPrompt(logits[0, -1].float(), cache, len(ids), shared)

    def forget(self) -> None:
        """Drop all cached prompts."""
        self._memory.clear()

    def _start(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        self.checkpoint.forget_offsets()
        model = self.checkpoint.model
        cache = DynamicCache(config=model.config)
        output = model(**self.checkpoint.on_device(inputs), cache=cache, use_cache=True, logits_to_keep=1)
        return output.logits, output.cache

    def _continue(self, known: _CachedPrompt, ids: tuple[int, ...], shared: int) -> tuple[Tensor, Any]:
        self.checkpoint.offsets = known.offsets
        cache = _shallow_copy(known.cache)
        cache.crop(shared - len(known.ids))
        rest = torch.tensor([ids[shared:]], device=self.checkpoint.device)
        output = self.checkpoint.model(input_ids=rest, cache=cache, use_cache=True, logits_to_keep=1)
        return output.logits, output.cache

    def _recall(self, ids: tuple[int, ...], keys: tuple[str, ...]) -> tuple[_CachedPrompt | None, int]:
        """The cached prompt with the longest usable prefix, and the length of that in tokens."""
        best: tuple[_CachedPrompt | None, int] = (None, 0)
        for read in self._memory:
            # The last token is always read again, because its logits are needed.
            shared = min(_common_length(read.ids, ids), len(ids) - 1)
            if read.keys == keys and shared > max(self._last_picture(ids, keys), best[1]):
                best = (read, shared)
        return best

    def _last_picture(self, ids: tuple[int, ...], keys: tuple[str, ...]) -> int:
        if not keys:
            return 0
        token = self.checkpoint.image_token
        return next((at for at in range(len(ids) - 1, -1, -1) if ids[at] == token), len(ids))

    def _remember(self, read: _CachedPrompt) -> None:
        if not self._remembered or not _can_be_cut(read.cache, len(read.ids)):
            return
        kept = _CachedPrompt(read.ids, read.keys, _shallow_copy(read.cache), read.offsets)
        self._memory = [*self._memory, kept][-self._remembered :]


def _common_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _can_be_cut(cache: Any, length: int) -> bool:
    """Whether the cache can be cropped: no sliding windows, recurrent states or cross-attention."""
    return isinstance(cache, DynamicCache) and all(
        type(layer) is DynamicLayer and layer.get_seq_length() == length for layer in cache.layers
    )


def _shallow_copy(cache: Any) -> Any:
    """A second cache on the same tensors; safe because plain layers replace tensors and never change them in place."""
    twin = copy(cache)
    twin.layers = [copy(layer) for layer in cache.layers]
    return twin


_PARTIAL = "\ufffd"  # stands for bytes that are not yet a whole character


class Detokenizer:
    """Decodes a reply token by token, so that the pieces joined are the reply.

    A token that ends inside a character adds nothing; the token that completes the character adds all of it.
    Only a short window is decoded for each token (the method of Hugging Face's text-generation-inference).
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0
        self._read = 0

    def add(self, token: int) -> str:
        """The text that one more token adds."""
        self._ids.append(token)
        piece = self._pending()
        if not piece or piece.endswith(_PARTIAL):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return piece

    def flush(self) -> str:
        """The text still held back at the end of the reply."""
        piece = self._pending()
        self._start = self._read = len(self._ids)
        return piece

    def _pending(self) -> str:
        return self._decode(len(self._ids))[len(self._decode(self._read)) :]

    def _decode(self, end: int) -> str:
        window = self._ids[self._start : end]
        return str(self._tokenizer.decode(window, skip_special_tokens=True, clean_up_tokenization_spaces=False))


TokenSampler = Callable[[Tensor], Tensor]


def generate_replies(
    checkpoint: Checkpoint,
    prefill: PrefilledPrompt,
    sampling: Sampling,
    n: int,
    check: Callable[[], None],
    on_text: Callable[[str], object] = lambda _: None,
) -> tuple[list[Reply], int]:
    """n replies and the number of generated tokens, end tokens included. `check` is called before every token.

    Log-probabilities are those of the model's own distribution in nats: temperature 1, nothing cut off.
    A greedy reply is generated once and returned n times. `on_text` receives the pieces of the first reply.
    Consumes the cache of the prefill.
    """
    rows = [_Row(checkpoint, sampling.stop) for _ in range(n if sampling.temperature > 0 else 1)]
    budget = min(sampling.max_tokens, checkpoint.longest - prefill.tokens)
    draw = make_sampler(sampling, checkpoint.device)
    cache, logits = prefill.cache, prefill.logits.expand(len(rows), -1)
    _keep_rows(cache, [0] * len(rows), checkpoint)
    active = list(rows)
    for left in range(max(budget, 1) - 1, -1, -1):
        check()
        tokens = draw(logits)
        scores = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
        for row, token, score in zip(active, tokens.tolist(), scores.tolist(), strict=True):
            row.add(token, score)
        on_text(rows[0].unreported())
        kept = [at for at, row in enumerate(active) if not row.over]
        if not kept or not left:
            break
        if len(kept) < len(active):
            _keep_rows(cache, kept, checkpoint)
            active, tokens = [active[at] for at in kept], tokens[kept]
        logits = forward(checkpoint, tokens[:, None], cache)[:, -1]
    replies = [row.reply() for row in rows]
    on_text(replies[0].text[rows[0].reported :])
    return replies * (n // len(rows)), sum(row.written for row in rows)


def forward(checkpoint: Checkpoint, tokens: Tensor, cache: Any) -> Tensor:
    """Logits, (rows, length, vocabulary) in float32, after each of the tokens (rows, length); extends the cache."""
    output = checkpoint.model(input_ids=tokens, cache=cache, use_cache=True)
    logits: Tensor = output.logits.float()
    return logits


def make_sampler(sampling: Sampling, device: torch.device) -> TokenSampler:
    """A function that draws one token per row of logits. Leaves torch's global random generator untouched."""
    if sampling.temperature <= 0:
        return lambda logits: logits.argmax(-1)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    generator = torch.Generator(device)
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)

    def draw(logits: Tensor) -> Tensor:
        chances = torch.softmax(warpers(None, logits), dim=-1)
        return torch.multinomial(chances, 1, generator=generator)[:, 0]

    return draw


def repeat_cache(prefill: PrefilledPrompt, rows: int, checkpoint: Checkpoint) -> None:
    """Repeat the cache of a prefill to so many equal rows."""
    _keep_rows(prefill.cache, [0] * rows, checkpoint)


def _keep_rows(cache: Any, rows: list[int], checkpoint: Checkpoint) -> None:
    """Repeat and drop rows by reordering, which every kind of cache layer supports."""
    cache.reorder_cache(torch.tensor(rows, device=checkpoint.device))


class _Row:
    """One reply being generated."""

    def __init__(self, checkpoint: Checkpoint, stops: tuple[str, ...]) -> None:
        self._ends = checkpoint.ends
        self._stops = stops
        self._spelling = Detokenizer(checkpoint.tokenizer)
        self._tokens: list[Token] = []
        self._text = ""
        self._held = max(map(len, stops), default=1) - 1
        self.written = 0
        self.reported = 0
        self.over = False

    def add(self, token: int, logprob: float) -> None:
        self.written += 1
        if token in self._ends:
            self.over = True
            return
        piece = self._spelling.add(token)
        self._tokens.append(Token(piece, logprob))
        self._text += piece
        found = [at for stop in self._stops if stop and (at := self._text.find(stop)) >= 0]
        if found:
            self._cut(min(found))

    def unreported(self) -> str:
        """New text, except the end that may be the beginning of a stop string."""
        start, self.reported = self.reported, max(self.reported, len(self._text) - (0 if self.over else self._held))
        return self._text[start : self.reported]

    def reply(self) -> Reply:
        finish: Literal["stop", "length"] = "stop" if self.over else "length"
        if self._tokens and (rest := self._spelling.flush()):
            self._tokens[-1] = replace(self._tokens[-1], text=self._tokens[-1].text + rest)
        return Reply("".join(token.text for token in self._tokens), tuple(self._tokens), finish)

    def _cut(self, end: int) -> None:
        self.over = True
        kept, position = [], 0
        for token in self._tokens:
            kept.append(replace(token, text=token.text[: end - position]))
            position += len(token.text)
            if position >= end:
                break
        self._text, self._tokens = self._text[:end], kept if end else []


@dataclass(frozen=True, slots=True)
class _ChoiceTokens:
    """One spelling of a choice, in tokens. `closed`: an end token must follow, because it is a prefix of another."""

    choice: str
    ids: tuple[int, ...]
    closed: bool = False


def score_choices(
    checkpoint: Checkpoint, prefill: PrefilledPrompt, sampling: Sampling, n: int, check: Callable[[], None]
) -> list[Reply]:
    """Draw n choices; each reply counts as one token. Consumes the cache of the prefill.

    The probability of a choice is that the reply begins with one of its spellings: the product of the conditional
    probabilities of its tokens, at temperature 1. Where one choice is a prefix of another, the reply must end after
    it. `probabilities` are normalised to sum to 1, and so is the log-probability (nats) of each reply's token.
    """
    check()
    names = list(dict.fromkeys(sampling.choices))
    scores = _weigh(checkpoint, prefill, _choice_tokens(checkpoint.tokenizer, names))
    logits = torch.stack([torch.stack(scores[name]).logsumexp(0) for name in names]).log_softmax(0)
    probabilities = dict(zip(names, logits.exp().tolist(), strict=True))
    drawn = make_sampler(sampling, checkpoint.device)(logits.expand(n, -1)).tolist()
    return [Reply(names[at], (Token(names[at], float(logits[at])),), "stop", probabilities) for at in drawn]


def _weigh(
    checkpoint: Checkpoint, prefill: PrefilledPrompt, ways: Sequence[_ChoiceTokens]
) -> Mapping[str, list[Tensor]]:
    """Log-probabilities of all spellings of each choice."""
    first = torch.log_softmax(prefill.logits.double(), dim=-1)
    scores: dict[str, list[Tensor]] = defaultdict(list)
    long = [way for way in ways if len(way.ids) > 1 or way.closed]
    for way in ways:
        if way not in long:
            scores[way.choice].append(first[way.ids[0]])
    if long:
        length = max(len(way.ids) for way in long)
        # Padding comes last, where a causal model cannot see it.
        padded = [[*way.ids, *[0] * (length - len(way.ids))] for way in long]
        repeat_cache(prefill, len(long), checkpoint)
        after = forward(checkpoint, torch.tensor(padded, device=checkpoint.device), prefill.cache)
        for way, row in zip(long, torch.log_softmax(after.double(), dim=-1), strict=True):
            scores[way.choice].append(_score(way, first, row, checkpoint.ends))
    return scores


def _score(way: _ChoiceTokens, first: Tensor, after: Tensor, ends: frozenset[int]) -> Tensor:
    steps = [first[way.ids[0]], *(after[at, token] for at, token in enumerate(way.ids[1:]))]
    if way.closed:
        steps.append(after[len(way.ids) - 1, sorted(ends)].logsumexp(0))
    return torch.stack(steps).sum()


def _choice_tokens(tokenizer: Any, choices: Sequence[str]) -> list[_ChoiceTokens]:
    """All spellings with at most as many tokens as the choice as given, without duplicates."""
    found: dict[tuple[int, ...], str] = {}
    for choice in choices:
        own = _tokens(tokenizer, choice)
        for spelling in choice_spellings(choice, choices):
            ids = _tokens(tokenizer, spelling)
            if ids and len(ids) <= len(own):
                found.setdefault(ids, choice)
    return [_ChoiceTokens(choice, ids, _begins_another(ids, found)) for ids, choice in found.items()]


def _begins_another(ids: tuple[int, ...], others: Iterable[tuple[int, ...]]) -> bool:
    return any(len(other) > len(ids) and other[: len(ids)] == ids for other in others)


def _tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
