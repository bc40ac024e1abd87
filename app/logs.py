"""Where the service's own log goes: to the terminal, beside uvicorn's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn.config import LOGGING_CONFIG

LOGGING: Mapping[str, Any] = {
    **LOGGING_CONFIG,
    "loggers": {**LOGGING_CONFIG["loggers"], "secondlook": {"handlers": ["default"], "level": "INFO"}},
}
"""uvicorn's settings of logging, and ours from INFO on: what a model server says while it loads is said there."""
