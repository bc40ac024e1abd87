"""What is known in words of one film, found by what is asked for."""

from tools.index.index import Index
from tools.line import Hit, Line, Source

__all__ = ["Hit", "Index", "Line", "Source"]
