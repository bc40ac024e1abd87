"""Load a model and its processor, and encode prompts for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available, logging

from agents.engines.base import EngineError, Message, Picture, Prompt, pictures_of
from agents.prompts.questions import frame_label
from tools.video.frame import Frame, frame_sides


def load_processor(place: str, config: Any) -> Any:
    """The processor of a folder or model id. Raises EngineError if it lacks an image processor or a chat template."""
    processor = _image_processor(place, config) if _lacks_torchvision(config) else AutoProcessor.from_pretrained(place)
    if getattr(processor, "image_processor", None) is None:
        raise EngineError(f"the model {place} has no image processor")
    if not getattr(processor, "chat_template", None):
        raise EngineError(f"the model {place} has no chat template")
    return processor


def _lacks_torchvision(config: Any) -> bool:
    if is_torchvision_available() or type(config) not in PROCESSOR_MAPPING:
        return False
    return "video_processor" in PROCESSOR_MAPPING[type(config)].get_attributes()


def _image_processor(place: str, config: Any) -> Any:
    """A processor without its video processor, which needs torchvision and is not used: frames are sent as images."""
    family = PROCESSOR_MAPPING[type(config)]
    # The overridden check does not allow a missing part.
    still: Any = type(family.__name__, (family,), {"check_argument_for_proper_class": lambda *_: None})
    settings, _ = family.get_processor_dict(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    parts = {"tokenizer": tokenizer, "image_processor": AutoImageProcessor.from_pretrained(place)}
    template = settings.get("chat_template") or tokenizer.chat_template
    return still.from_args_and_dict(
        [parts.get(name) for name in family.get_attributes()], {**settings, "chat_template": template}
    )


_USUAL_SIDE = 448  # pixels; for models that take images of any size
_LEAST_SIDE = 112  # pixels; below, such models recognise little
_RATIOS = (1, 4 / 3, 3 / 2, 16 / 9, 2, 21 / 9, 3, 4)
_LATE = 99_999.9  # seconds; its time label is as long as any


class Checkpoint:
    """A video LMM ready to run. Not for use from two threads at once.

    `side` is in pixels, `longest` is the context length in tokens, `ends` are the tokens that end a reply.
    """

    def __init__(self, name: str, model: Any, processor: Any, side: int | None) -> None:
        self.name = name
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.device = torch.device(model.device)
        self.longest = int(getattr(model.config.get_text_config(), "max_position_embeddings", 2**31))
        self.ends = _ends(model, self.tokenizer)
        self.image_token = _image_token(model)
        self.side = side or _side(model.config)
        self.min_side = self.side if _fixed(model.config) else min(self.side, _LEAST_SIDE)
        self._frame_tokens = {size: self._most_tokens(size) for size in frame_sides(self.side, self.min_side)}
        # Models with multi-dimensional positions store the offset of the last prompt.
        self._positioned = [module for module in model.modules() if hasattr(module, "rope_deltas")]

    @classmethod
    def load(cls, place: str, *, device: str = "auto", dtype: str | None = None, side: int | None = None) -> Checkpoint:
        """Load a folder or a model id of Hugging Face, without running code that comes with it. Raises EngineError.

        `dtype` is the name of a torch dtype; by default float32 on the CPU, and the checkpoint's elsewhere.
        """
        chosen = _device(device)
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # commands show their own progress
        precision = dtype or ("float32" if chosen.type == "cpu" else "auto")
        try:
            config = AutoConfig.from_pretrained(place)
            model = AutoModelForImageTextToText.from_pretrained(place, dtype=precision)
            processor = load_processor(place, config)
            checkpoint = cls(_name(place), model.to(chosen).eval(), processor, side)
        except (OSError, ValueError, KeyError, AttributeError, ImportError, RuntimeError) as error:
            raise EngineError(f"cannot load the model {place}: {_brief(error)}") from error
        finally:
            if bars:
                logging.enable_progress_bar()
        return checkpoint

    def encode(self, prompt: Prompt) -> dict[str, Tensor]:
        """The model's inputs for a prompt, as its own chat template and image processor make them. Raises EngineError.

        Text that looks like control tokens of the model is encoded as plain text.
        """
        turns = [
            {"role": message.role, "content": [_content(part) for part in _with_labels(message.parts)]}
            for message in prompt
        ]
        try:
            inputs = self.processor.apply_chat_template(
                turns,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=True,
            )
        except Exception as error:  # templates and processors may raise anything
            raise EngineError(f"{self.name} cannot read this prompt: {_brief(error)}") from error
        return dict(inputs)

    def on_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs on the model's device, floats in its precision."""
        precision = self.model.dtype
        return {
            key: value.to(self.device, precision if value.is_floating_point() else None)
            for key, value in inputs.items()
        }

    @property
    def offsets(self) -> list[Tensor | None]:
        """Position offsets of the last prompt, stored in the model."""
        return [module.rope_deltas for module in self._positioned]

    @offsets.setter
    def offsets(self, values: Sequence[Tensor | None]) -> None:
        for module, value in zip(self._positioned, values, strict=True):
            module.rope_deltas = value

    def forget_offsets(self) -> None:
        """Reset the offsets before a new prompt; one without frames would inherit those of the last one."""
        self.offsets = [None] * len(self._positioned)

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for a frame of that longest side, in pixels, with its time label."""
        larger = [size for size in self._frame_tokens if size >= side]
        return self._frame_tokens[min(larger, default=self.side)]

    def _most_tokens(self, side: int) -> int:
        return max(self._tokens_of(*shape) for shape in _shapes(side))

    def _tokens_of(self, width: int, height: int) -> int:
        frame = Frame(_LATE, np.zeros((height, width, 3), np.uint8))
        shown: Prompt = (Message("user", (Picture(frame, "blank"), "\n?")),)
        bare: Prompt = (Message("user", ("\n?",)),)
        return int(self.encode(shown)["input_ids"].shape[1] - self.encode(bare)["input_ids"].shape[1])


def _with_labels(parts: Sequence[str | Picture]) -> list[str | Picture]:
    """The parts with a time label before each frame."""
    shown = ((part,) if isinstance(part, str) else (frame_label(part.time), part) for part in parts)
    return [each for pair in shown for each in pair]


def _content(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": Image.fromarray(np.asarray(part.frame.image))}


def picture_keys(prompt: Prompt) -> tuple[str, ...]:
    """Cache keys of all frames of a prompt."""
    return tuple(picture.key for picture in pictures_of(prompt))


def _shapes(side: int) -> set[tuple[int, int]]:
    """Widths and heights from square to 4:1, in both orientations.

    Processors that use tiles, or round to patches, need more tokens for some shapes.
    """
    shorter = {max(1, round(side / ratio)) for ratio in _RATIOS}
    return {(side, short) for short in shorter} | {(short, side) for short in shorter}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise EngineError(f"unknown device {name!r}: use cpu, cuda or auto") from None


def _name(place: str) -> str:
    return Path(place).name if Path(place).is_dir() else place


def _side(config: Any) -> int:
    size = _fixed(config)
    return max(size) if isinstance(size, (list, tuple)) else size or _USUAL_SIDE


def _fixed(config: Any) -> Any:
    """The size to which every image is resized, if fixed; smaller images then cost the same."""
    return getattr(getattr(config, "vision_config", None), "image_size", None)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    several = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in (*several, tokenizer.eos_token_id) if end is not None)


def _image_token(model: Any) -> int | None:
    for name in ("image_token_id", "image_token_index"):
        if (token := getattr(model.config, name, None)) is not None:
            return int(token)
    return None


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
