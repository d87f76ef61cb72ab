"""The ``dcvae`` command: verbs over the library, errors in one sentence, help that teaches."""

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from dcvae.cli import data, latents, models, registry, results, setup, training
from dcvae.cli.show import usage
from dcvae.errors import UserError
from dcvae.terminal import give_up, prepare_streams, printable, tell_warnings

app = typer.Typer(
    name="dcvae",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Train, evaluate and use DC-VAE generative autoencoders on your own images.

From images to a model, and from the model to new images:

```
dcvae shard sklearn:digits ./digits --resolution 16
dcvae train --preset digits --data ./digits --out ./run --nproc 2
dcvae evaluate run/snapshots/000000040000 --data ./digits --out ./evaluation
dcvae sample run/snapshots/000000040000 --out new.png
```

Places are s3://bucket/prefix or folders; S3 is configured by the AWS_ variables.
`dcvae doctor` checks machine and storage before hours are spent.""",
)
for module in (data, training, results, registry, models, latents, setup):
    module.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        import dcvae

        print(dcvae.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 failed, 2 bad input, 130 interrupted, 143 stopped."""
    prepare_streams()
    tell_warnings()
    code = _run(arguments)
    raise SystemExit(code if _written(told=code == 0) else code or 2)


def _run(arguments: list[str] | None) -> int:
    from dcvae.launch.starter import RankError
    from dcvae.processes import stopping_on_sigterm

    try:
        with stopping_on_sigterm():
            code: Any = app(arguments, prog_name="dcvae", standalone_mode=False)
            return code if isinstance(code, int) else 0
    except UserError as error:
        return _failed(str(error), 2)
    except TyperException as error:
        return _failed(_sentence(error), 2)
    except RankError as error:
        return _failed(str(error), 1)
    except BrokenPipeError:
        give_up(sys.stdout)  # the reader of our output is gone
        return 1
    except OSError as error:  # a folder that cannot be read, a file that cannot be written
        where = error.filename or "the output cannot be written"
        return _failed(f"{where}: {error.strerror or error}", 2)


def _written(told: bool) -> bool:
    """Whether all output has been written; what has not is dropped.

    That is reported unless another error has been ``told``.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up(sys.stdout)
    except OSError as error:
        give_up(sys.stdout)
        if told:
            _failed(f"the output cannot be written: {error.strerror}", 2)
        return False
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            give_up(sys.stderr)
    return True


def _sentence(error: TyperException) -> str:
    """A usage error and where to read more."""
    path = getattr(getattr(error, "ctx", None), "command_path", "dcvae")
    return f"{usage(error)}; see {path} --help"


def _failed(message: str, code: int) -> int:
    with suppress(OSError):
        print(f"error: {printable(message)}", file=sys.stderr, flush=True)
    return code
