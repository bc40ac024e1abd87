"""Vectors by number in faiss: every search looks at all of them, so what it finds is exact.

They are held in half precision, as they are stored: half the memory, two thirds of the time.
"""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import faiss
import numpy as np
from numpy.typing import NDArray

from tools.embedder import Vectors as Rows
from tools.index.table import Mask

Numbers = NDArray[np.int64]


class WrongVectors(Exception):
    """These bytes are not the vectors that were written."""


class Vectors:
    """Vectors of length 1, compared by their inner product. `dimension`: how many numbers make one."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        halves = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._index = faiss.IndexIDMap2(halves)

    @classmethod
    def read(cls, path: Path, digest: str) -> "Vectors":
        """What `write` wrote. Raises WrongVectors if there is no file with this sha256."""
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WrongVectors("the file of vectors cannot be read") from error
        if found != digest:
            raise WrongVectors("the file of vectors is not the one that was written")
        index = faiss.read_index(str(path))
        vectors = cls(index.d)
        vectors._index = index
        return vectors

    def write(self, path: Path) -> str:
        """Write all vectors with their numbers, whole or not at all. Returns the file's sha256. Raises OSError."""
        part = path.with_name(f"{uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))
                file.flush()
                os.fsync(file.fileno())
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return digest

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def numbers(self) -> Numbers:
        """The number of every vector."""
        return np.array(faiss.vector_to_array(self._index.id_map), np.int64)

    def add(self, numbers: Numbers, vectors: Rows) -> None:
        """Add vectors, (n, dimension), under numbers that are not taken."""
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(numbers, np.int64))

    def remove(self, numbers: Numbers) -> None:
        """Forget some vectors."""
        self._index.remove_ids(np.asarray(numbers, np.int64))

    def search(self, vector: Rows, n: int, mask: Mask | None = None) -> list[int]:
        """The numbers of the n vectors nearest to a vector, (dimension,), nearest first; of those in a mask."""
        wish = None if mask is None else faiss.SearchParameters(sel=_selector(mask))
        _, found = self._index.search(vector[None, :], max(1, min(n, len(self))), params=wish)
        return [number for number in found[0].tolist() if number >= 0]

    def of(self, numbers: Numbers) -> Rows:
        """The vectors with these numbers, (n, dimension)."""
        return np.asarray(self._index.reconstruct_batch(np.asarray(numbers, np.int64)), np.float32)


def _selector(mask: Mask) -> faiss.IDSelectorBitmap:
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
