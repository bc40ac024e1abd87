"""The demo model: a small LLaVA (SigLIP-type tower, Qwen2-type decoder) in Hugging Face's own classes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

_PLAIN = ("DEFAULT", "AVX2")  # there bfloat16 is emulated, at a sixth of the speed of float32


def mixed_precision(device: str) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, if that pays."""
    pays = device != "cpu" or torch.backends.cpu.get_cpu_capability() not in _PLAIN
    return torch.autocast(device, torch.bfloat16, enabled=pays)


BRANCHING = "branching"


def branching_attention(
    module: nn.Module,  # noqa: ARG001 (part of the interface)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 (the shape of the tree says it all)
    scaling: float,
    trunk_mask: Tensor,
    branches: int,
    **_: object,
) -> tuple[Tensor, None]:
    """`trunk_mask` (rows, trunk) is 0 where a trunk token is real and -inf where it is padding."""
    with torch.autocast(query.device.type, enabled=False):
        groups = query.shape[1] // key.shape[1]
        query, key = query * scaling, key.to(query.dtype).repeat_interleave(groups, 1)
        value = value.to(query.dtype).repeat_interleave(groups, 1)
        sizes = [trunk_mask.shape[1], query.shape[2] - trunk_mask.shape[1]]
        parts = [torch.split(each, sizes, 2) for each in (query, key, value)]
        (q, mine), (k, keys), (v, values) = parts
        first = _attend(q, k, v)
        rest = _branches(mine, (k, keys), (v, values), trunk_mask.to(query.dtype), branches)
    joined = torch.cat([first, rest], dim=2)
    return joined.transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) + _causal(query.shape[-2], query)
    return torch.softmax(scores, -1) @ value


def _branches(
    query: Tensor, key: tuple[Tensor, Tensor], value: tuple[Tensor, Tensor], mask: Tensor, branches: int
) -> Tensor:
    rows, heads, total, width = query.shape
    trunk, length = mask.shape[1], total // branches
    shape = (rows, heads, branches, length, width)
    far = query @ key[0].transpose(-1, -2) + mask[:, None, None]
    near = query.reshape(shape) @ key[1].reshape(shape).transpose(-1, -2) + _causal(length, query)
    scores = torch.cat([far.view(rows, heads, branches, length, trunk), near], -1)
    far_share, near_share = torch.split(torch.softmax(scores, -1), [trunk, length], -1)
    seen = far_share.reshape(rows, heads, total, trunk) @ value[0]
    return seen + (near_share @ value[1].reshape(shape)).reshape(rows, heads, total, width)


def _causal(length: int, like: Tensor) -> Tensor:
    blank = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
    return blank.triu(1)


AttentionInterface.register(BRANCHING, branching_attention)

IMAGE_SIDE = 84
PATCH = 28
TOKENS_PER_FRAME = (IMAGE_SIDE // PATCH) ** 2
LONGEST = 2048  # tokens: 128 frames and a question

# With the customary 0.02 at this width nothing that needs attention look-up emerges in an hour.
_SPREAD = 0.07


def vision_config() -> SiglipVisionConfig:
    """The tower: 3 layers over nine patches of 28 pixels."""
    return SiglipVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )


def text_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """The decoder: 6 layers, heads of 32 because vLLM's CPU attention has kernels for multiples of 32."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=LONGEST,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        initializer_range=_SPREAD,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlavaForConditionalGeneration:
    """A model with fresh weights."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_act="gelu",
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_seq_length=TOKENS_PER_FRAME,
        tie_word_embeddings=True,
    )
    config.initializer_range = _SPREAD
    return LlavaForConditionalGeneration(config)


def new_processor(tokenizer: PreTrainedTokenizerFast, template: str) -> LlavaProcessor:
    """The processor that goes with the model; it needs Pillow, not torchvision."""
    return LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token="<image>",
        chat_template=template,
    )


def save_model(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write weights in bfloat16, and all that is needed to load them, as Hugging Face lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    slim = LlavaForConditionalGeneration(model.config)
    slim.load_state_dict(model.state_dict())
    slim.generation_config.eos_token_id = model.config.text_config.eos_token_id
    slim.generation_config.pad_token_id = model.config.text_config.pad_token_id
    slim.to(torch.bfloat16).save_pretrained(folder)
    _name_as_on_the_hub(folder / "model.safetensors")
    processor.save_pretrained(folder)


def _name_as_on_the_hub(weights: Path) -> None:
    """Name the tower's weights as every LLaVA on the hub does: Transformers reads both, vLLM 0.32 only these."""
    tensors = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1)
        if name.startswith("vision_tower.") and ".vision_model." not in name
        else name: tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # written for its owner alone, which an image with its own user could not read
