"""What an index was made with and for. A folder is an index if it has a metadata file."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from tools.index.storage import IndexUnavailable

FORMAT = 1
"""Raise this with every change of how an index is written."""


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Everything that changes what is in an index.

    `captioner` and `embedder` are names of models, `prompts` a digest of the prompts. Clips of `clip_seconds` are
    captioned from `fps` frames a second, the longest side `side` pixels.
    """

    captioner: str
    prompts: str
    clip_seconds: float
    fps: float
    side: int
    embedder: str
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name it."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(builder: IndexConfig) -> str:
    written = json.dumps(asdict(builder), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


METADATA_FILE = "card.json"
METADATA_GLOB = f"[0-9a-f]*/{METADATA_FILE}"
"""Where metadata files are under the folder of a tenant."""


@dataclass(frozen=True, slots=True)
class IndexMetadata:
    """What is known of an index without opening it.

    `video` is its sha256, of `duration` seconds; `label` what its owner calls it; `created` seconds since
    1970.
    """

    id: str
    tenant: str
    video: str
    label: str
    duration: float
    config: IndexConfig
    created: float


def index_id(folder: Path) -> str:
    """Names an index everywhere; the same video and builder of two tenants have two."""
    return f"idx_{hashlib.sha256(f'{folder.parent.name}/{folder.name}'.encode()).hexdigest()[:32]}"


def write_metadata(folder: Path, metadata: IndexMetadata) -> None:
    """Create the folder of an index with its metadata, atomically."""
    part = folder.with_name(f"part-{uuid4().hex}")
    try:
        part.mkdir(parents=True)
        said = asdict(metadata)
        said["builder"] = said.pop("config")  # its name on disk since 0.1
        (part / METADATA_FILE).write_text(json.dumps(said))
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not (folder / METADATA_FILE).exists():  # else another process was first
            raise IndexUnavailable(f"The index cannot be written: {error}.") from error


def read_metadata(file: Path) -> IndexMetadata | None:
    """The metadata in a file; None if it cannot be read or was written by another version."""
    try:
        said = json.loads(file.read_text())
        config = IndexConfig(**said.pop("builder"))
        return IndexMetadata(**said, config=config)
    except (OSError, ValueError, TypeError, KeyError):
        return None
