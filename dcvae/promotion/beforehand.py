"""What registering a model would refuse, known before it is trained."""

import math
from collections.abc import Mapping

from dcvae.errors import UserError
from dcvae.evaluation.names import measurable
from dcvae.evaluation.protocol import Protocol
from dcvae.registry.catalogues import check_kind
from dcvae.registry.versions import check_name


def check_beforehand(
    name: str, maximum: Mapping[str, object], protocol: Protocol, registry: str = ""
) -> None:
    """Refuse what only the step after the training would refuse.

    Args:
        name: of the model.
        maximum: metric name → largest value that the gate is to let pass.
        protocol: by which the model will be measured.
        registry: which other registry is to show it; empty: as the environment says.

    Raises:
        UserError: the first fault, in one sentence.
    """
    check_name(name)
    if registry:
        check_kind(registry)
    better = measurable(protocol.extractor, protocol.perceptual)
    for metric, value in maximum.items():
        if metric not in better:
            raise UserError(
                f"maximum asks for {metric}, which {protocol.label} does not measure; there "
                f"are: {', '.join(name for name, best in better.items() if best == 'lower')}"
            )
        if better[metric] == "higher":
            raise UserError(
                f"{metric} is better when higher; maximum has largest values, so leave it out"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or math.isnan(float(str(value))):
            raise UserError(f"the maximum of {metric} is {value!r}, which is not a number")
