"""The tools that ask the model: whatever the modules of this folder define, by name."""

from tools.base import find_tools

TOOLS = find_tools(__name__)
