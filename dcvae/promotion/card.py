"""The model card: the description of a registered model, in Markdown."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dcvae.registry.versions import Version


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dcvae.promotion", "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown: cells are cleaned by the filter
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template("model_card.md.j2")


def model_card(name: str, version: Version, description: dict[str, Any]) -> str:
    """The card of ``version`` as Markdown.

    Args:
        description: the content of the snapshot's ``config.json``.
    """
    return _template().render(
        name=name,
        version=version,
        evaluation=version.evaluation,
        protocol=version.evaluation.protocol,
        dataset=description["dataset"],
        images=description["images"],
        resolution=description["resolution"],
        model=description["config"]["model"],
        objective=description["config"]["objective"],
        preset=description["config"]["preset"],
    )


def _cell(value: object) -> str:
    """Text that stays inside its table cell and is shown, not interpreted."""
    text = str(value).replace("\n", " ")
    for character in "\\|<>`*_[]":
        text = text.replace(character, "\\" + character)
    return text
