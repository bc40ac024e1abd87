"""What lies beside an index to say what it is: a folder with a card in it is an index, any other is none."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from tools.index.builder import Builder
from tools.index.database import IndexDown

CARD = "card.json"
CARDS = f"[0-9a-f]*/{CARD}"
"""Where cards are under the folder of a tenant."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of an index without opening it.

    `video` is the sha256 of the film, of `duration` seconds; `label` what its owner calls it; `created` seconds since
    1970.
    """

    id: str
    tenant: str
    video: str
    label: str
    duration: float
    builder: Builder
    created: float


def identify(folder: Path) -> str:
    """Names an index everywhere; the same film and builder of two tenants have two."""
    return f"idx_{hashlib.sha256(f'{folder.parent.name}/{folder.name}'.encode()).hexdigest()[:32]}"


def make_card(folder: Path, card: Card) -> None:
    """A folder with a card in it, at once or not at all."""
    part = folder.with_name(f"part-{uuid4().hex}")
    try:
        part.mkdir(parents=True)
        (part / CARD).write_text(json.dumps(asdict(card)))
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not (folder / CARD).exists():  # else another process was first
            raise IndexDown(f"The index cannot be written: {error}.") from error


def read_card(file: Path) -> Card | None:
    """What a card says; None if it cannot be read or was written by another version."""
    try:
        said = json.loads(file.read_text())
        return Card(**{**said, "builder": Builder(**said["builder"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def touched(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return time.time()


def bytes_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
