"""The demo model as anyone would load it: Hugging Face classes, chat template, images as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from agents.prompts import label

Frames = Sequence[tuple[float, Image.Image]]


class Pupil:
    """Answers questions about timed frames."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.model = LlavaForConditionalGeneration.from_pretrained(weights, dtype=torch.float32).to(device).eval()
        self.processor = LlavaProcessor.from_pretrained(weights)
        self.device = device

    @torch.inference_mode()
    def probabilities(self, frames: Frames, text: str, choices: Sequence[str]) -> list[float]:
        """Probability of each choice as the whole of the reply's first token, among the choices alone."""
        logits = self.model(**self._inputs([(frames, text)]), logits_to_keep=1).logits[0, -1].float()
        ids = [self._only_token(choice) for choice in choices]
        shares: list[float] = torch.softmax(logits[ids], 0).tolist()
        return shares

    @torch.inference_mode()
    def replies(self, asked: Sequence[tuple[Frames, str]], temperature: float = 0.0, longest: int = 140) -> list[str]:
        """One reply to each prompt, drawn together."""
        inputs = self._inputs(asked)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        output = self.model.generate(**inputs, max_new_tokens=longest, **sampling)
        fresh = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self.processor.batch_decode(fresh, skip_special_tokens=True)
        return texts

    def _inputs(self, asked: Sequence[tuple[Frames, str]]) -> dict[str, torch.Tensor]:
        prompts = [self._prompt(frames, text) for frames, text in asked]
        pictures = [picture for frames, _ in asked for _, picture in frames]
        inputs = self.processor(images=pictures, text=prompts, return_tensors="pt", padding=True)
        return {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask", "pixel_values")}

    def _prompt(self, frames: Frames, text: str) -> str:
        parts: list[dict[str, str]] = []
        for time, _ in frames:
            parts += [{"type": "text", "text": label(time)}, {"type": "image"}]
        parts.append({"type": "text", "text": f"\n{text}"})
        prompt: str = self.processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        return prompt

    def _only_token(self, text: str) -> int:
        (token,) = self.processor.tokenizer.encode(text, add_special_tokens=False)
        return int(token)
