"""A tiny Qwen3-VL with random weights: it tells nonsense, but reads frames, videos and their times as a real one.

Only when told about tools it says something sensible: it calls `look_closer`, always the same way, and ends. Whatever
else it says goes on for as long as it may, so that there is time to hang up on it. Everything is written here, as the
files that a hub would serve; nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

PATCH = 16  # pixels; four patches become one token
SIDE = 64  # pixels: frames of this side are neither enlarged nor shrunk, and take four tokens
_SPECIAL = ("endoftext", "im_start", "im_end", "image_pad", "video_pad", "vision_start", "vision_end")
CALL = {"name": "look_closer", "arguments": {"second": 2.5}}
_SCRIPT = ("<|calls|>", "<tool_call>", json.dumps(CALL), "</tool_call>", "<|im_end|>")  # each makes it say the next
_LOUD = 1e4  # next to what random layers add
_STEADY = 0.3  # of the size of a word, and little next to what layers add
_NEVER = -1e4  # much even of that little
_SIZE = {"shortest_edge": SIDE**2, "longest_edge": 128 * SIDE**2}
_PICTURES = {
    "processor_class": "Qwen3VLProcessor",
    "patch_size": PATCH,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<|vision_start|><|{{ 'video' if part['type'].startswith('video') else 'image' }}_pad|><|vision_end|>"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if tools %}<|calls|>{% endif %}{% endif %}"
)


def save_tiny_qwen(folder: Path, width: int = 64) -> int:
    """Write the model, its tokenizer and what prepares its pictures into a folder; returns how many parameters it has.

    `width` numbers, a multiple of 32, stand for a token: a wider model is a slower one.
    """
    tokenizer, ids = save_processor(folder, _SIZE)
    torch.manual_seed(0)
    model: Any = Qwen3VLForConditionalGeneration(_config(ids, len(tokenizer), width))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)  # with the usual size all tokens are alike, whatever is shown
        script = tokenizer.convert_tokens_to_ids(list(_SCRIPT))
        _go_on(model, script)
        _rehearse(model, script)
    model.generation_config.eos_token_id = ids["im_end"]
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def save_processor(folder: Path, size: Mapping[str, int]) -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    """Write tokenizer, chat template and what prepares pictures; returns the first, and its tokens for the config.

    `size` bounds the pixels of a picture, or of a whole video.
    """
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    for kind, name in (("image", "Qwen2VLImageProcessor"), ("video", "Qwen3VLVideoProcessor")):
        place = folder / ("preprocessor_config.json" if kind == "image" else "video_preprocessor_config.json")
        place.write_text(json.dumps({f"{kind}_processor_type": name, "size": size, **_PICTURES}, indent=1) + "\n")
    return tokenizer, {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in _SPECIAL}


def _go_on(model: Any, script: list[int]) -> None:
    """Make no token predict any of the script, which has an end: by the last dimension, which no layer writes into."""
    words, predictions = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for layer in model.model.language_model.layers:
        layer.self_attn.o_proj.weight[-1] = 0.0
        layer.mlp.down_proj.weight[-1] = 0.0
    words[:, -1] = _STEADY
    predictions[:, -1] = 0.0
    predictions[script, -1] = _NEVER


def _rehearse(model: Any, script: list[int]) -> None:
    """Make each token of the script predict the next one, whatever came before."""
    words, predictions = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for place, (token, following) in enumerate(pairwise(script)):
        words[token] = 0.0
        words[token, place] = _LOUD
        predictions[following, :-1] = 0.0
        predictions[following, place] = 1.0


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that other words are other tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        additional_special_tokens=[*(f"<|{name}|>" for name in _SPECIAL), _SCRIPT[0]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(words, normalized=False) for words in _SCRIPT[1:-1]])
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def _config(ids: dict[str, int], words: int, width: int) -> Any:
    return Qwen3VLConfig(
        text_config={
            "vocab_size": words, "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 8,
            "num_attention_heads": width // 32, "num_key_value_heads": 1, "head_dim": 32,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
            },
            "eos_token_id": ids["im_end"], "pad_token_id": ids["endoftext"], "bos_token_id": None,
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": width,
            "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=False,
    )  # fmt: skip
