"""All experiments, and the names that their compiled content gives them."""

import hashlib
import importlib
import pkgutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipelines


@dataclass(frozen=True)
class Package:
    """A pipeline as currently compiled."""

    name: str
    title: str
    description: str
    """What it does, and what its parameters mean."""
    content: str
    pipeline: Any

    @property
    def version(self) -> str:
        """A name that changes with the content, because versions never change."""
        return f"{self.name}-{hashlib.sha256(self.content.encode()).hexdigest()[:10]}"


def experiments() -> Iterator[Any]:
    """The pipeline of every file ``pipelines/<name>.py`` that defines one called ``<name>``."""
    for module in sorted(each.name for each in pkgutil.iter_modules(pipelines.__path__)):
        found = getattr(importlib.import_module(f"pipelines.{module}"), module, None)
        if hasattr(found, "pipeline_spec"):
            yield found


def compiled(pipeline: Any) -> Package:
    """Compile a pipeline."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        content = file.read_text()
    info = pipeline.pipeline_spec.pipeline_info
    title = info.display_name or pipeline.name
    return Package(pipeline.name, title, _explained(pipeline), content, pipeline)


def _explained(pipeline: Any) -> str:
    """What the pipeline does and its parameters mean; Kubeflow's form shows only their names."""
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    lines = [f"- {name}: {' '.join(parameters[name].description.split())}" for name in parameters]
    summary = (pipeline.description or "").partition("\n\n")[0]
    return "\n\n".join((summary, "\n".join(sorted(lines))))
