"""Runs a pipeline on this machine: KFP's local runner, a real S3 server, and readable output."""

import builtins
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from dcvae import processes
from dcvae.environment import LOGS
from dcvae.errors import UserError
from dcvae.progress import duration
from dcvae.storage import NotFound, open_storage, split_uri
from dcvae.storage.embedded import embedded_s3
from dcvae.storage.uri import check_key
from dcvae.terminal import printable

HOME = Path(".dcvae")
"""Buckets, logs and the runner's files, kept between runs."""
RESULTS = Path("demo")
_GRACE = 40.0
"""Seconds that steps get to stop, because a training writes a checkpoint first."""
_SHOWN = {
    "evaluation": ("report.html", "samples.png", "reconstructions.png"),
    "comparison": ("comparison.html", "comparison.md"),
}
"""The files that people look at, by output of a pipeline."""
# The runner takes a condition that it cannot evaluate as false, and reports success.
_SILENT_FAILURES = ("Could not resolve", "Condition evaluation failed", "Failed to get")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class StepFailed(Exception):  # noqa: N818
    """A step failed; its own output says why."""


def run_here(pipeline: Any, values: dict[str, object]) -> int:
    """Run ``pipeline``, print where its results are, and return the exit code."""
    short = pipeline.name.removeprefix("dcvae-")
    processes.adopt_orphans()
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        with _environment(_storage(pipeline, values)):
            outputs = _run(pipeline, values)
            _show(outputs, RESULTS / short)
    except StepFailed as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM as Ctrl-C: at any other exception, the runner waits for its step to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _storage(pipeline: Any, values: dict[str, object]) -> str:
    declared = pipeline.pipeline_spec.root.input_definitions.parameters
    return str(values.get("storage", declared["storage"].default_value.string_value))


@contextmanager
def _environment(storage: str) -> Iterator[None]:
    """Set the variables that steps inherit, and run a server if ``storage`` is a bucket."""
    scheme, bucket, _ = split_uri(storage)
    os.environ.update(processes.run_environment())
    os.environ[LOGS] = str((HOME / "logs").absolute())
    if scheme != "s3":
        with _ending_steps(set()):
            yield
        return
    with embedded_s3((HOME / "s3").absolute()) as server:
        server.create_bucket(bucket)
        os.environ.update(server.environment())
        print(f"S3 server at {server.endpoint}, its files in {HOME / 's3'}")
        with _ending_steps({server.pid}):
            yield


@contextmanager
def _ending_steps(keep: set[int]) -> Iterator[None]:
    """However the block ends, no step or rank outlives it, only the server in ``keep``."""
    try:
        yield
    finally:
        processes.end_children(_GRACE, keep)


def _run(pipeline: Any, values: dict[str, object]) -> dict[str, str]:
    from kfp import local

    # Retries after a minute are for lost nodes; here they would only delay the message.
    loops = [each.dag for each in pipeline.pipeline_spec.components.values()]
    for dag in (pipeline.pipeline_spec.root.dag, *loops):
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what a laptop cannot honour: sizes, image, names
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(HOME / "kfp"),
            workspace_root=str(HOME / "workspace"),
        )
        narrator = Narrator(sys.stdout, _titles(pipeline))
        with _restored(), narrator.listening():
            try:
                outputs = pipeline(**values).outputs
            except RuntimeError as error:
                if not narrator.failed_step:
                    raise StepFailed(_COLOUR.sub("", str(error))) from None
                step = narrator.failed_step
                raise StepFailed(f"the step {step} failed; what it said is above") from None
    if narrator.silent_failures:
        raise StepFailed(f"the runner skipped a step: {narrator.silent_failures[0]}")
    return {name: str(value) for name, value in outputs.items()}


def _titles(pipeline: Any) -> dict[str, str]:
    """The titles of the tasks, which tell equal steps apart, by the runner's names."""
    return {
        name: task.task_info.name for name, task in pipeline.pipeline_spec.root.dag.tasks.items()
    }


@contextmanager
def _restored() -> Iterator[None]:
    """Undo what the runner's loops leave behind: an indenting print, and logs of all packages."""
    root = logging.getLogger()
    before = builtins.print, root.level, root.handlers[:]
    try:
        yield
    finally:
        builtins.print, root.level, root.handlers[:] = before


class Narrator:
    """Makes the runner's output readable: says which step runs, and passes on the steps' lines.

    It also notices the runner's messages that a step was silently skipped.
    """

    def __init__(self, out: TextIO, titles: Mapping[str, str]) -> None:
        self.silent_failures: list[str] = []
        self.failed_step = ""
        self._out, self._titles = out, titles
        self._began = time.monotonic()
        self._rest = ""
        self._skip_until = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block, the runner's output and log come here."""
        root = logging.getLogger()
        root.addFilter(self.filter)
        try:
            with redirect_stdout(self):
                yield
        finally:
            root.removeFilter(self.filter)
            self.flush()

    def filter(self, record: logging.LogRecord) -> bool:
        """Print what a log record of the runner means, instead of the record itself."""
        text = _COLOUR.sub("", record.getMessage())
        if text.startswith(_SILENT_FAILURES):
            self.silent_failures.append(text)
        if started := re.fullmatch(r"Executing task '(.+)'", text):
            self._began = time.monotonic()
            self._say(f"\n{self._titles.get(started[1], started[1])}")
        elif ended := re.fullmatch(r"Task '(.+)' finished with status (\w+)", text):
            took = duration(time.monotonic() - self._began)
            if ended[2] == "SUCCESS":
                self._say(f"    done in {took}")
            else:
                self.failed_step = self._titles.get(ended[1], ended[1])
        elif record.levelno >= logging.WARNING:
            self._say(f"    {text}")
        return False

    def write(self, text: str) -> int:
        """Take what is printed, line by line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._hear(line)
        return len(text)

    def _hear(self, line: str) -> None:
        """Pass a line on, unless it is a ruler, empty, or internal to the executor."""
        if self._skip_until:
            if line == self._skip_until:
                self._skip_until = ""
            elif line.strip() == "{" and self._skip_until == "{":
                self._skip_until = line.replace("{", "}")
        elif "[KFP Executor" in line:
            self._skip_until = "{" if line.endswith("executor_input:") else ""
        elif line.strip(" -"):
            self._say(line)

    def flush(self) -> None:
        """Pass on what has arrived."""
        self._out.flush()

    def _say(self, line: str) -> None:
        self._out.write(f"{printable(line)}\n")  # not print(), which the runner replaces
        self._out.flush()


def _show(outputs: dict[str, str], folder: Path) -> None:
    """Copy what people look at into ``folder`` and say where everything is."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = []
    for output in _SHOWN.keys() & outputs.keys():
        found = open_storage(outputs[output])
        for name in _SHOWN[output]:
            try:
                (folder / name).write_bytes(found.read(name))
            except NotFound as error:
                raise UserError(f"the {output} is incomplete: {error}") from None
            copied.append(name)
    if "model" in outputs:
        _copy_model(outputs["model"], folder / "model")
        copied.append("model")
    print("\nIn the bucket (the server ends with this command, its files stay):")
    for name, uri in outputs.items():
        print(f"  {name:<10}  {uri}")
    print("Here:")
    for name in copied:
        print(f"  {folder / name}")


def _copy_model(uri: str, folder: Path) -> None:
    from dcvae.registry import resolve

    model = open_storage(resolve(uri))
    for info in model.list():
        file = folder / check_key(info.key)  # keys in a bucket must not lead outside the folder
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(model.read(info.key))
