"""What a filled form may say: refused before anything is compiled, submitted or run.

Known here is what the steps would find out only after the training.
"""

import math
from collections.abc import Mapping
from typing import Any

from dcvae.errors import UserError


def check(pipeline: Any, values: Mapping[str, object]) -> None:
    """Refuse a name, a registry, an extractor or maxima that the last steps would refuse.

    Args:
        values: parameters that are not left at their defaults.

    Raises:
        UserError: the first of them, in one sentence.
    """
    form = {**_defaults(pipeline), **values}
    if "maximum" not in form:  # a comparison of models, which registers none
        return
    from dcvae.registry import check_name
    from dcvae.registry.catalogues import check_kind

    check_name(str(form["name"]))
    if form.get("registry"):
        check_kind(str(form["registry"]))
    maximum = form["maximum"]
    assert isinstance(maximum, Mapping), "its type was checked as it was read"
    _check_maxima(maximum, str(form.get("extractor") or ""))


def _check_maxima(maximum: Mapping[str, object], extractor: str) -> None:
    from dcvae.evaluation.names import EXTRACTORS, measurable

    extractor = extractor or EXTRACTORS[0]
    if extractor not in EXTRACTORS:
        raise UserError(f"there is no extractor {extractor!r}; use one of: {', '.join(EXTRACTORS)}")
    better = measurable(extractor)
    for metric, value in maximum.items():
        if metric not in better:
            raise UserError(
                f"maximum asks for {metric}, which is not measured with {extractor}; there "
                f"are: {', '.join(name for name, best in better.items() if best == 'lower')}"
            )
        if better[metric] == "higher":
            raise UserError(
                f"{metric} is better when higher; maximum has largest values, so leave it out"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or math.isnan(float(str(value))):
            raise UserError(f"the maximum of {metric} is {value!r}, which is not a number")


def _defaults(pipeline: Any) -> dict[str, object]:
    from google.protobuf.json_format import MessageToDict

    declared = pipeline.pipeline_spec.root.input_definitions.parameters
    return {name: MessageToDict(spec.default_value) for name, spec in declared.items()}
