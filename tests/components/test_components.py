"""Steps are thin: what a reader of a pipeline must read of each is its interface."""

import ast
import builtins
from pathlib import Path

import pytest

STEPS = ("numbers", "shard_part", "shard", "train", "evaluate", "register", "compare")
FOLDER = Path(__file__).parent.parent.parent / "components"


def function(name: str) -> ast.FunctionDef:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    (found,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return found


@pytest.mark.parametrize("name", STEPS)
def test_a_body_is_under_25_lines_and_brings_its_own_imports(name: str) -> None:
    body = function(name).body[1:]  # after the docstring
    assert body[-1].end_lineno is not None
    assert body[-1].end_lineno - body[0].lineno < 25
    # Only the function's source travels: every name must be its own, an argument or built in.
    arguments = {a.arg for a in function(name).args.args}
    names = [n for statement in body for n in ast.walk(statement)]
    known = arguments | set(dir(builtins))
    known |= {
        a.asname or a.name
        for n in names
        if isinstance(n, ast.Import | ast.ImportFrom)
        for a in n.names
    }
    known |= {n.id for n in names if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    used = {n.id for n in names if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert used <= known


@pytest.mark.parametrize("name", STEPS)
def test_every_argument_is_described(name: str) -> None:
    node = function(name)
    text = ast.get_docstring(node) or ""
    assert all(f"{argument.arg}: " in text for argument in node.args.args)
