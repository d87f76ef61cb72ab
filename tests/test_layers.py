"""Imports go one way, in dcvae from room to room too, and importing anything stays cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("dcvae", "components", "pipelines")
MAY_IMPORT = {
    "dcvae": {"dcvae"},
    "components": {"components", "dcvae"},
    "pipelines": {"pipelines", "components", "dcvae"},
}
SOURCES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imported(nodes: list[ast.AST]) -> Iterator[str]:
    """Full names of the modules that these syntax nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.module or ""


def at_module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported, so no function body."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def top(name: str) -> str:
    return name.partition(".")[0]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_imports_go_one_way(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    names = set(imported(list(ast.walk(ast.parse(path.read_text())))))
    ours = {top(name) for name in names} & set(LAYERS)
    assert ours <= MAY_IMPORT[layer], f"{layer} imports {ours - MAY_IMPORT[layer]}"
    if layer == "dcvae":
        assert "kfp" not in {top(name) for name in names}
        if path.relative_to(ROOT).parts[1] not in ("launch", "doctor"):
            assert "kubernetes" not in {top(name) for name in names}


ROOMS = (
    {"environment", "terminal", "version"},
    {"errors"},
    {"messages", "processes", "pictures"},
    {"progress", "config", "storage", "latent"},
    {"presets", "objective", "shards", "curves"},
    {"models", "sharding", "streaming"},
    {"updates", "snapshot", "run_folder"},
    {"places", "inference"},
    {"training", "launch", "evaluation"},
    {"registry"},
    {"report", "promotion", "doctor"},
    {"cli", "__init__"},
    {"__main__"},
)
"""The rooms of dcvae from the ground up: each uses those below it, and none of its neighbours."""
FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}


def room_of(module: str) -> str:
    """``dcvae.shards.tar`` → ``shards``; ``dcvae`` itself is ``__init__``."""
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.is_relative_to(ROOT / "dcvae")], ids=named
)
def test_rooms_use_only_those_below(path: Path) -> None:
    here = path.relative_to(ROOT / "dcvae").with_suffix("").parts[0]
    tree = ast.parse(path.read_text())
    named_whole = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "dcvae"
        for alias in node.names
    }
    names = {name for name in imported(list(ast.walk(tree))) if name != "dcvae"} | named_whole
    for name in (name for name in names if top(name) == "dcvae"):
        there = room_of(name)
        assert there == here or FLOOR[there] < FLOOR[here], f"{here} imports {name}"
        if here == "registry" and there == "evaluation":
            assert name == "dcvae.evaluation.results", "the registry knows only results"


ONE_MEANING = ("Counter", "Features", "Step", "Source", "resolve", "report", "small", "images")
ONE_MEANING += ("plan", "run", "ranks", "data_uri", "Place", "Ignored", "world_size")
ONE_MEANING += ("Rows", "Settings", "claim", "generator", "walk")


def defined(path: Path) -> Iterator[str]:
    """What a module is called, and the functions and classes at its top."""
    yield path.parent.name if path.stem == "__init__" else path.stem
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def test_a_word_has_one_meaning() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "dcvae").rglob("*.py")):
        for name in set(defined(path)):
            found.setdefault(name, []).append(named(path))
    twice = {name: places for name in ONE_MEANING if len(places := found.get(name, [])) > 1}
    assert not twice


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.is_relative_to(ROOT / "components")], ids=named
)
def test_a_component_needs_only_kfp_to_be_imported(path: Path) -> None:
    names = {top(n) for n in imported(list(at_module_level(ast.parse(path.read_text()))))}
    assert names <= set(sys.stdlib_module_names) | {"kfp", "components"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_the_kubernetes_client_is_imported_only_when_asked_for(path: Path) -> None:
    names = {top(n) for n in imported(list(at_module_level(ast.parse(path.read_text()))))}
    assert "kubernetes" not in names


MODULES = ["dcvae", "dcvae.cli", "dcvae.config", "dcvae.launch", "dcvae.storage"] + [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in SOURCES
    if path.relative_to(ROOT).parts[0] in ("components", "pipelines")
]


def test_importing_the_frame_loads_no_heavy_package() -> None:
    program = (
        "import importlib, sys\n"
        f"for name in {MODULES!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'deepspeed', 'torchvision'} & set(sys.modules)\n"
        "    assert not heavy, f'importing {name} loads {heavy}'\n"
        "    if name.startswith('dcvae'):\n"
        "        assert 'kfp' not in sys.modules and 'kubernetes' not in sys.modules, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
