"""Refuses bad values of a form before anything is compiled, submitted or run.

Otherwise the steps would find them only after the training.
"""

from collections.abc import Mapping
from typing import Any

from dcvae.cli.data import read_shard_options
from dcvae.presets import configure


def check(pipeline: Any, values: Mapping[str, object]) -> None:
    """Refuse options, settings, a name, a registry, a protocol or maxima that a step would refuse.

    Args:
        values: parameters that differ from their defaults.

    Raises:
        UserError: names the first of them.
    """
    from dcvae.evaluation import read_protocol
    from dcvae.evaluation.ahead import check_selection

    form = {**_defaults(pipeline), **values}
    read_shard_options(str(form.get("shard_options") or ""))
    config = None
    if "preset" in form and "settings" in form:
        settings = form["settings"]
        assert isinstance(settings, list), "its type was checked as it was read"
        config = configure(str(form["preset"]), settings)
    if "protocol" not in form:
        return
    protocol = read_protocol(str(form["protocol"]), config, str(form.get("weights") or ""))
    if "select_by" in form:
        last = form["last"]
        assert isinstance(last, int | float), "its type was checked as it was read"
        check_selection(int(last), str(form["select_by"]))
    if "maximum" not in form:  # a comparison registers no model
        return
    from dcvae.promotion.beforehand import check_beforehand

    maximum = form["maximum"]
    assert isinstance(maximum, Mapping), "its type was checked as it was read"
    check_beforehand(str(form["name"]), maximum, protocol, str(form.get("registry") or ""))


def _defaults(pipeline: Any) -> dict[str, object]:
    from google.protobuf.json_format import MessageToDict

    declared = pipeline.pipeline_spec.root.input_definitions.parameters
    return {name: MessageToDict(spec.default_value) for name, spec in declared.items()}
