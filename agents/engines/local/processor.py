"""Load the processor that belongs to a model, with or without torchvision."""

from __future__ import annotations

from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from agents.engine import EngineError


def load_processor(place: str, config: Any) -> Any:
    """The processor of a folder or model id. Raises EngineError if it cannot hold a conversation about pictures."""
    processor = _still(place, config) if _lacks_torchvision(config) else AutoProcessor.from_pretrained(place)
    if getattr(processor, "image_processor", None) is None:
        raise EngineError(f"the model {place} has no image processor")
    if not getattr(processor, "chat_template", None):
        raise EngineError(f"the model {place} has no chat template")
    return processor


def _lacks_torchvision(config: Any) -> bool:
    if is_torchvision_available() or type(config) not in PROCESSOR_MAPPING:
        return False
    return "video_processor" in PROCESSOR_MAPPING[type(config)].get_attributes()


def _still(place: str, config: Any) -> Any:
    """A processor without its video part, which needs torchvision and which we never use: we send frames."""
    family = PROCESSOR_MAPPING[type(config)]
    # All that is overridden is a check of the types of the parts, which does not let a part be missing.
    still: Any = type(family.__name__, (family,), {"check_argument_for_proper_class": lambda *_: None})
    settings, _ = family.get_processor_dict(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    parts = {"tokenizer": tokenizer, "image_processor": AutoImageProcessor.from_pretrained(place)}
    template = settings.get("chat_template") or tokenizer.chat_template
    return still.from_args_and_dict(
        [parts.get(name) for name in family.get_attributes()], {**settings, "chat_template": template}
    )
