"""What is known in words of one film, found by what is asked for."""

from tools.index.builder import Builder
from tools.index.database import IndexDown
from tools.index.index import Index, IndexFull
from tools.line import Hit, Line, Source

__all__ = ["Builder", "Hit", "Index", "IndexDown", "IndexFull", "Line", "Source"]
