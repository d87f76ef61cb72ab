"""What the documentation says can be done is done, and what it quotes is said."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def cells(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)


@pytest.mark.timeout(600)  # all steps of a pipeline, in one test, on a busy machine
def test_the_example_and_the_api_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All cells, one after the other in one namespace, as in a notebook."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook"])
    namespace: dict[str, object] = {"__name__": "notebook"}
    for page in ("example.md", "api.md"):
        for number, cell in enumerate(cells(page)):
            exec(compile(cell, f"{page}, cell {number}", "exec"), namespace)
    said = capsys.readouterr().out
    assert "192 of 192" in said
    assert "1 True there was no champion and every threshold is met" in said
    assert "the same latents: True" in said
    for name in ("first.png", "walk.png", "edited.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def sentences() -> list[str]:
    """The quoted sentences of docs/troubleshooting.md: what stands in blocks marked text."""
    page = (DOCS / "troubleshooting.md").read_text()
    blocks = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def spoken() -> Iterator[str]:
    """Every string of the code, with … where a value is put in."""
    for layer in ("dcvae", "components", "pipelines"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )


SPOKEN = [re.sub(r"\s+", " ", text) for text in spoken()]


def test_there_are_sentences() -> None:
    assert len(sentences()) >= 15


@pytest.mark.parametrize("sentence", sentences())
def test_the_product_says_just_that(sentence: str) -> None:
    """Word for word; … stands for what differs from case to case.

    A part between two … may be joined of two strings of the code, an advice behind a cause.
    """
    said = re.sub(r"^(error: |warning: |(note|fail) +[a-z]+ +)", "", sentence)
    parts = [part.strip(AROUND) for part in said.split("…")]
    assert max(map(len, parts)) >= 15, "too little of it is fixed to be recognised"
    for part in parts:
        while part:
            found = max((n for n in range(len(part) + 1) if said_somewhere(part[:n])), default=0)
            assert found in (len(part), *range(12, len(part))), f"nothing says {part!r}"
            part = part[found:].strip(AROUND)


AROUND = " :,;()'\""


def said_somewhere(text: str) -> bool:
    return any(text in each for each in SPOKEN)


LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    for target in LINK.findall((DOCS / page).read_text()):
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize(
    "page", [DOCS / "method.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_files_and_functions_that_are_named_exist(page: Path) -> None:
    """``dcvae/objective/kl.py:kl_divergence``; a file without folders is beside the one before."""
    for line in (ROOT / page).read_text().splitlines():
        folder = ROOT
        for path, name in re.findall(r"`([\w/]+\.py)(?::(\w+))?`", line):
            file = ROOT / path if "/" in path else folder / path
            folder = file.parent
            assert re.search(rf"^(def|class) {name}\b" if name else "", file.read_text(), re.M), (
                path
            )
