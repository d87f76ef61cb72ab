"""Writes docs/settings.md from the fields: ``python -m dcvae.config.reference FILE``.

Without FILE, the page is printed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dcvae.config.section import OPERATIONAL, REMEDY, Section
from dcvae.config.training import Phase
from dcvae.config.whole import SECTIONS, Config
from dcvae.environment import CLUSTER, DEVELOPERS, OURSELVES, USERS, VARIABLES

_INTRODUCTION = """\
# Settings

Generated from the code by `make settings`; a test fails if it is out of date.

A run's configuration is a preset (`dcvae presets` lists them) with settings changed by
`--set section.key=value`. Values are JSON or plain text, such as `--set training.seed=1`,
`--set objective.method=vae_gan` or `--set 'training.adam_betas=[0.0, 0.9]'`. NaN and infinities
are refused everywhere. The defaults are those of the code; a preset has values of its own, which
`dcvae presets NAME` prints.

A resumed run must have the same settings, except for those marked *on resume*: they do not affect
the result, so they may change. A run that a NaN has stopped may also resume with other values of
those marked *after a NaN*; its config.json records what was changed and when.
"""
_SET_BY = {
    USERS: "Set them where dcvae runs.",
    CLUSTER: "The ConfigMap `dcvae-cluster` (k8s/base/config.yaml) sets them for the steps.",
    OURSELVES: "dcvae sets them for the processes it starts. Leave them alone.",
    DEVELOPERS: "For working on dcvae itself.",
}
_SIGNS: dict[Any, tuple[str, str]] = {
    Ge: ("≥", "ge"),
    Gt: (">", "gt"),
    Le: ("≤", "le"),
    Lt: ("<", "lt"),
}


def text() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_INTRODUCTION, *_sections(), *_refusals(), *_environment()])


def _sections() -> Iterator[str]:
    for name, section in SECTIONS.items():
        yield f"## {name}\n\n{section.__doc__}\n"
        yield from _table(section, f"{name}.")
        if name == "training":
            yield f"### A phase\n\n{Phase.__doc__} Each of `training.phases` has:\n"
            yield from _table(Phase, "")


def _table(section: type[Section], prefix: str) -> Iterator[str]:
    yield "| setting | values | default | |\n| --- | --- | --- | --- |"
    for name, field in section.model_fields.items():
        said = " ".join((field.description or "").replace("``", "`").split())
        resume = " *On resume.*" if OPERATIONAL in field.metadata else ""
        resume += " *After a NaN.*" if REMEDY in field.metadata else ""
        default = "" if field.default is PydanticUndefined else f"`{_shown(field.default)}`"
        row = (f"`{prefix}{name}`", values(field), default, f"{said}{resume}")
        yield f"| {' | '.join(row)} |"
    yield ""


def values(field: FieldInfo) -> str:
    """The values a field accepts, in words: type and bounds."""
    inner = get_args(field.annotation)
    if type(None) not in inner:
        return " ".join([_kind(field.annotation), *_bounds(field.metadata)])
    kind = next(each for each in inner if each is not type(None))
    return f"{' '.join([_kind(kind), *_bounds(field.metadata)])}, or `none`"


def _kind(annotation: Any) -> str:
    """A type in words."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{_shown(value)}`" for value in inner)
    if get_origin(annotation) is tuple:
        return "list of phases" if inner[0] is Phase else f"list of {len(inner)}: {_item(inner[0])}"
    return {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}[annotation]


def _item(annotation: Any) -> str:
    kind, field = get_args(annotation)[:2]
    return " ".join([_kind(kind), *_bounds(field.metadata)])


def _bounds(metadata: list[Any]) -> list[str]:
    found = []
    for each in metadata:
        if type(each) in _SIGNS:
            sign, attribute = _SIGNS[type(each)]
            found.append(f"{sign} {getattr(each, attribute)}")
        elif isinstance(each, MinLen):
            found.append("that is not empty")
    return [", ".join(found)] if found else []


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else f"{value}"


def refusals() -> dict[str, str]:
    """Every rule that involves several settings: its name in the code, and its sentence."""
    sections: tuple[type[Section], ...] = (Config, *SECTIONS.values(), Phase)
    return {
        name: str(rule.func.__doc__)
        for section in sections
        for name, rule in section.__pydantic_decorators__.model_validators.items()
    }


def _refusals() -> Iterator[str]:
    yield "## What goes together\n\nA configuration that breaks one of these is refused.\n"
    yield from (f"- {sentence.replace('``', '`')}" for sentence in refusals().values())
    yield ""


def _environment() -> Iterator[str]:
    yield "## Environment variables\n"
    yield (
        "Besides these, the usual AWS variables give the endpoint and credentials of `s3://`, and "
        "`KF_PIPELINES_ENDPOINT` the address of Kubeflow Pipelines.\n"
    )
    for set_by, sentence in _SET_BY.items():
        yield f"{sentence}\n\n| variable | default | |\n| --- | --- | --- |"
        for each in VARIABLES:
            if each.set_by == set_by:
                yield f"| `{each}` | {each.default} | {each.meaning} |"
        yield ""


def main(arguments: list[str]) -> None:
    """Write the page into the file that ``arguments`` name, or print it."""
    if arguments:
        Path(arguments[0]).write_text(text())
    else:
        print(text(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
