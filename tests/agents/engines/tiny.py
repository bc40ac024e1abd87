"""Tiny models with random weights, made and saved on the spot: three families, each with its own processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

SIDE = 56
_CORPUS = ["Question: what is red? A. yes B. no C. 10 D. 1 Answer: <12.5s> the blue star", "größe 東京 yes no not"]
_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
]
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}IMAGE{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """Byte-level, with few merges, so that most words and all but Latin letters take several tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=special or {"image_token": "<image>", "video_token": "<|video_pad|>"},
        padding_side="left",
    )


def save_tiny_llava(folder: Path) -> None:
    """A LLaVA with a SigLIP tower and a Qwen2 decoder; four tokens an image."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            image_size=SIDE, patch_size=28, vision_use_head=False,
        ),
        text_config=_decoder(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_seq_length=4,
    )  # fmt: skip
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        patch_size=28,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token="<image>",
        chat_template=_TEMPLATE.replace("IMAGE", "<image>"),
    )
    _spread(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_tiny_qwen(folder: Path) -> None:
    """A Qwen2.5-VL: three-dimensional positions and as many tokens an image as its size asks for."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    text = {
        **_decoder(tokenizer).to_dict(),
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }
    text.pop("model_type")
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 14, "spatial_merge_size": 2, "window_size": 56, "fullatt_block_indexes": [1],
        },
        text_config=text,
        image_token_id=ids("<image>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    _spread(Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(folder)
    tokenizer.chat_template = _TEMPLATE.replace("IMAGE", "<|vision_start|><image><|vision_end|>")
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 84 * 84}).save_pretrained(folder)


def save_tiny_gemma(folder: Path) -> None:
    """A Gemma 3: half of its layers see the last 16 tokens only, so its cache cannot be cut back."""
    tokenizer = tiny_tokenizer(image_token="<image>", boi_token="<|vision_start|>", eoi_token="<|vision_end|>")
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    text = _decoder(tokenizer).to_dict() | {
        "num_hidden_layers": 4,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": None,
    }
    text.pop("model_type")
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text,
        vision_config={**tower, "image_size": SIDE, "patch_size": 14, "vision_use_head": False},
        mm_tokens_per_image=4,
        image_token_index=ids("<image>"),
        boi_token_index=ids("<|vision_start|>"),
        eoi_token_index=ids("<|vision_end|>"),
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=_TEMPLATE.replace("IMAGE", "<|vision_start|>"),
    )
    _spread(Gemma3ForConditionalGeneration(config)).save_pretrained(folder)
    processor.save_pretrained(folder)


def _decoder(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"), bos_token_id=None,
    )  # fmt: skip


def _spread(model: Any) -> Any:
    """Weights large enough that the model prefers some tokens: with the usual 0.02 all are alike."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(8)
    model.generation_config.eos_token_id = model.config.get_text_config().eos_token_id
    return model
