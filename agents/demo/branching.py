"""Attention for many turns about the same frames: each turn sees the frames and itself, never another turn.

A row is a trunk (the frames) followed by branches of equal length (the turns). Written out as dense products
it costs a tenth of the masked square on a CPU, where the fused kernels are slow in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "branching"


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


AttentionInterface.register(NAME, branching_attention)
