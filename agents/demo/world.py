"""The words of the demo world: what can be seen in a film. The order of each tuple is part of the format."""

from __future__ import annotations

SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
DIRECTIONS = ("left", "right", "up", "down")
# Cells of a picture, row by row, in words that are one token each.
CELLS = ("northwest", "north", "northeast", "west", "middle", "east", "southwest", "south", "southeast")
DIGITS = tuple("0123456789")
SEEN = (*COLOURS, *SHAPES, "sign", *CELLS, *DIGITS)  # every word that a frame may be read as
NAMES = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Greta", "Hugo", "Ines", "Juri", "Karl", "Lena")

RGB = {
    "red": (214, 40, 40),
    "green": (38, 160, 62),
    "blue": (44, 84, 220),
    "yellow": (236, 214, 48),
    "purple": (148, 54, 186),
    "white": (244, 244, 244),
}
