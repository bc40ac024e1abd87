"""The house has three floors, and imports only go down: app → agents → tools."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("tools", "agents", "app")
FILES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    """Top-level names that are imported below a node, with their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name.partition(".")[0], node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found.append(((node.module or "").partition(".")[0], node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_and_stand_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    above = FLOORS[FLOORS.index(path.relative_to(ROOT).parts[0]) + 1 :]
    upward = [f"{name} in line {line}" for name, line in imports(tree) if name in above]
    assert not upward
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    hidden = [line for node in functions for name, line in imports(node) if name in FLOORS]
    assert not hidden, "own imports inside functions"
