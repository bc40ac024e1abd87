"""Imports go down only (app → agents → tools), and no two classes share a name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("tools", "agents", "app")
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


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
    above = LAYERS[LAYERS.index(path.relative_to(ROOT).parts[0]) + 1 :]
    upward = [f"{name} in line {line}" for name, line in imports(tree) if name in above]
    assert not upward
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    hidden = [line for node in functions for name, line in imports(node) if name in LAYERS]
    assert not hidden, "own imports inside functions"


def test_every_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
