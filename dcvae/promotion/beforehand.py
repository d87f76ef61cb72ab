"""Refuses, before a training, what the registration after it would refuse."""

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
    """Refuse what would otherwise be refused only after the training.

    Args:
        name: of the model.
        maximum: largest value, by metric name, that passes the gate.
        protocol: how the model will be measured.
        registry: another registry that will show it; empty: the one that the environment names.

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
