"""docs/settings.md says what the code says, and the code says every variable."""

import ast
import re
import subprocess
from pathlib import Path

from dcvae import environment
from dcvae.config import SETTINGS
from dcvae.config.reference import text

ROOT = Path(__file__).parent.parent.parent
NAME = re.compile(r"\bDCVAE_[A-Z][A-Z0-9_]*[A-Z0-9]\b")


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == text(), "run: make settings"


def test_the_page_has_every_setting_and_variable() -> None:
    page = text()
    assert len(set(environment.VARIABLES)) == len(environment.VARIABLES)
    for name in (*SETTINGS, *environment.VARIABLES):
        assert f"| `{name}` |" in page


def test_every_variable_is_declared() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.splitlines()] or [*ROOT.glob("dcvae/**/*.py")]
    for file in files:
        if file.is_file() and file.suffix not in (".png", ".gif"):
            found = set(NAME.findall(file.read_text(errors="replace")))
            assert found <= set(environment.VARIABLES), file


def test_code_names_a_variable_by_its_declaration() -> None:
    for room in ("dcvae", "components", "pipelines"):
        for file in sorted((ROOT / room).rglob("*.py")):
            if file.name != "environment.py":
                for node in ast.walk(ast.parse(file.read_text())):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        assert not NAME.fullmatch(node.value), f"{file}: {node.value}"
