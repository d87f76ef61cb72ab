"""The command line of every pipeline file: compile it, run it here, submit it, schedule it."""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Never

from dcvae.config import SETTINGS
from dcvae.errors import UserError, did_you_mean
from dcvae.terminal import give_up, one_line, prepare_streams, tell_warnings
from pipelines import form

_KINDS = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


def main(
    pipeline: Any,
    arguments: list[str] | None = None,
    small: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Do what the command line asks of ``pipeline`` and exit: 0, 1 failed, 2 bad input.

    ``small`` are the parameters of a form that two processors finish in minutes, if it has one.
    """
    prepare_streams()
    tell_warnings()
    try:
        code = _run(pipeline, arguments, small)
        sys.stdout.flush()
    except UserError as error:
        code = _failed(str(error))
    except OSError as error:
        if error.filename is None:  # of the output, not of a file
            give_up(sys.stdout)
            code = _failed(f"the output cannot be written: {error.strerror or error}")
        else:
            code = _failed(
                f"{error.filename} cannot be written ({error.strerror}): run it from a folder "
                "that can be, or name the package with --output"
            )
    except RuntimeError as error:
        if "home directory" not in str(error):
            raise
        code = _failed(f"{error}: set HOME")
    raise SystemExit(code)


def _failed(message: str) -> int:
    with suppress(OSError):
        print(f"error: {one_line(message)}", file=sys.stderr, flush=True)
    return 2


def _run(pipeline: Any, arguments: list[str] | None, small: Mapping[str, object]) -> int:
    options = _parser(pipeline, small).parse_args(arguments)
    if options.small and not options.local:
        raise UserError("--small is a form for this machine; use it with --local")
    values = parameters(pipeline, options.set, small if options.small else {})
    form.check(pipeline, values)
    if options.local:
        from pipelines.local import run_here

        return run_here(pipeline, values)
    if options.image is not None:
        use_image(pipeline, options.image)
    if options.submit or options.schedule:
        return _on_cluster(pipeline, values, options)
    short = pipeline.name.removeprefix("dcvae-")
    file = options.output or Path("build") / f"{short}.yaml"
    compile_package(pipeline, file, values)
    print(file)
    return 0


def _on_cluster(pipeline: Any, values: dict[str, object], options: argparse.Namespace) -> int:
    from pipelines.kubeflow import submit
    from pipelines.kubeflow.client import Kubeflow
    from pipelines.kubeflow.cron import with_seconds

    if options.schedule:
        with_seconds(options.schedule)  # refuses a bad one before the server is contacted
    server = Kubeflow(options.host, options.namespace)
    experiment = options.experiment or pipeline.name
    if options.schedule:
        submit.schedule(server, pipeline, values, options.schedule, experiment, options.name)
        return 0
    run = submit.submit(server, pipeline, values, experiment, options.name)
    if not options.wait:
        return 0
    try:
        return submit.wait(server, run, pipeline)
    except KeyboardInterrupt:
        print("\nNo longer watched; the run goes on.", file=sys.stderr)
        return 130


def use_image(pipeline: Any, image: str) -> None:
    """Have all steps run in ``image``. Raises UserError unless a version or digest pins it."""
    _check_image(image)
    for executor in pipeline.pipeline_spec.deployment_spec["executors"].values():
        executor["container"]["image"] = image


def compile_package(pipeline: Any, file: Path, values: dict[str, object] | None = None) -> None:
    """Write the pipeline package, with ``values`` as its parameters' defaults."""
    from kfp import compiler

    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"a pipeline package is a .yaml file, not {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline, str(file), pipeline_parameters=values or {})


def parameters(
    pipeline: Any, settings: list[str], given: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """Values for the pipeline's parameters from ``given`` ones and ``name=value`` settings.

    ``name`` is a parameter or, if it contains a dot, a setting of the configuration as in
    ``dcvae train --set``, which is added to the parameter ``settings``.

    Raises:
        UserError: there is no such name, or the value is of another type.
    """
    declared = pipeline.pipeline_spec.root.input_definitions.parameters
    configurable = {"preset", "settings"} <= set(declared)
    values: dict[str, Any] = dict(given)
    changes = []
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting} is not of the form name=value")
        if name in declared:
            kind = type(declared[name]).DESCRIPTOR.fields_by_name["parameter_type"].enum_type
            number = declared[name].parameter_type
            values[name] = _value(name, text, kind.values_by_number[number].name)
        elif configurable and name in SETTINGS:
            changes.append(setting)
        else:
            close = did_you_mean(name, [*declared, *(SETTINGS if configurable else ())])
            raise UserError(
                f"{pipeline.name} has no parameter {name!r}{close}; it has {', '.join(declared)}"
            )
    if changes:
        values["settings"] = [*values.get("settings", _default(declared["settings"])), *changes]
    return values


def _default(parameter: Any) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(parameter.default_value)


def _value(name: str, text: str, kind: str) -> object:
    wanted = _KINDS[kind]
    if wanted is str:
        return text
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        value = None
    if wanted is float and type(value) is int:
        value = float(value)
    texts = not isinstance(value, list) or all(isinstance(each, str) for each in value)
    if type(value) is not wanted or not texts or not _in_range(value):
        example = {list: '["a=1"]', dict: '{"a": 1}', bool: "true", int: "2", float: "0.5"}[wanted]
        raise UserError(f"--set {name}={text} is not possible: {name} is written like {example}")
    return value


def _no_number(text: str) -> Never:
    raise ValueError(f"{text} is no number")


def _in_range(value: object) -> bool:
    """Whether Kubeflow can pass a number on, for which it has 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _check_image(image: str) -> None:
    last = image.rpartition("/")[2]
    if "@sha256:" not in image and (":" not in last or last.endswith(":latest")):
        raise UserError(f"the image {image} must be pinned: give a version tag or a digest")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:
        raise UserError(f"{message}; see {self.prog} --help")


def _parser(pipeline: Any, small: Mapping[str, object]) -> argparse.ArgumentParser:
    warnings.filterwarnings("ignore", module="kfp")
    parser = _Parser(
        description=pipeline.description,
        epilog=_describe(pipeline, small),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--compile", action="store_true", help="write the package for Kubeflow")
    mode.add_argument("--local", action="store_true", help="run all steps on this machine")
    mode.add_argument("--submit", action="store_true", help="run on Kubeflow now")
    mode.add_argument("--schedule", metavar="CRON", help='run on Kubeflow regularly: "0 3 * * 0"')
    parser.set_defaults(small=False)
    if small:
        parser.add_argument(
            "--small", action="store_true", help="with --local: minutes on two processors"
        )
    parser.add_argument("--output", type=Path, help="file of the package (build/<name>.yaml)")
    parser.add_argument("--image", help="image of the steps, pinned by version or digest")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter below, or a setting such as training.seed=1; may be repeated",
    )
    cluster = parser.add_argument_group("with --submit and --schedule")
    cluster.add_argument("--host", help="Kubeflow Pipelines (KF_PIPELINES_ENDPOINT, or kubectl's)")
    cluster.add_argument("--namespace", help="yours, if Kubeflow is multi-user")
    cluster.add_argument("--experiment", help="group of runs (default: the pipeline's name)")
    cluster.add_argument("--name", help="of the run (pipeline, time) or schedule (pipeline)")
    cluster.add_argument(
        "--wait", action="store_true", help="with --submit: wait until it has ended"
    )
    return parser


def _describe(pipeline: Any, small: Mapping[str, object]) -> str:
    """The parameters with their meaning and defaults."""
    lines = ["parameters for --set:"]
    for name, spec in sorted(pipeline.pipeline_spec.root.input_definitions.parameters.items()):
        default = json.dumps(_default(spec)).strip('"').removesuffix(".0")
        lines.append(f"  {name:<10} {spec.description} ({default})")
    if small:
        lines.append("--small sets, unless --set does:")
        lines += [f"  {name:<10} {json.dumps(value)}" for name, value in small.items()]
    return "\n".join(lines)
