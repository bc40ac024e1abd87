"""A Qwen3-VL of the size of the real 8B model, without weights: vLLM draws them at random.

Shapes are those of its published configuration. The tokenizer is that of the tiny one: a token a byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, Qwen3VLConfig

from tests.vllm.tiny_qwen import save_processor

FLAGS = {
    "--load-format": "dummy",
    "--dtype": "bfloat16",
    "--max-model-len": "32768",
    "--limit-mm-per-prompt": '{"image":128,"video":2}',
    "--enable-prompt-tokens-details": None,
    "--logprobs-mode": "processed_logprobs",
    "--trust-request-mm-kwargs": None,
}


def save_full_size(folder: Path) -> None:
    """Write all that vLLM needs to serve the model from dummy weights."""
    folder.mkdir(parents=True)
    _, ids = save_processor(folder, {"shortest_edge": 64**2, "longest_edge": 768 * 448 * 256})
    config: Any = Qwen3VLConfig(
        text_config={
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True,
            },
            "eos_token_id": ids["im_end"], "pad_token_id": ids["endoftext"], "bos_token_id": None,
        },
        vision_config={
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [8, 16, 24],
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=False,
        architectures=["Qwen3VLForConditionalGeneration"],
        dtype="bfloat16",
    )  # fmt: skip
    config.save_pretrained(folder)
    GenerationConfig(eos_token_id=ids["im_end"], pad_token_id=ids["endoftext"]).save_pretrained(folder)
