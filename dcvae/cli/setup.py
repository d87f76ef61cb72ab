"""``dcvae doctor``: checks what is there and what is missing before hours are spent."""

from dataclasses import asdict
from typing import Annotated

import typer

from dcvae.cli.show import Json, say, say_json


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(doctor)


def doctor(
    storage: Annotated[
        str | None,
        typer.Argument(metavar="[URI]", help="A place to write to, read from and delete from."),
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Also check what a cluster lacks for trainings."),
    ] = False,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace for --cluster; default: kubectl's current one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check versions, GPU, memory and ports, and that a place can be written to.

    Exits with code 1 if something would keep a training from running.

    ```
    dcvae doctor
    dcvae doctor s3://bucket/prefix
    dcvae doctor --cluster --namespace kubeflow
    ```
    """
    from dcvae import doctor as checks

    findings = [*checks.machine(), *(checks.storage(storage) if storage else [])]
    findings += checks.catalogue()
    if cluster:
        findings += checks.cluster(namespace)
    if as_json:
        say_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.level:<5} {finding.subject:<9} {finding.text}")
    if storage is None and not as_json:
        print("      storage   not checked; name a place: dcvae doctor s3://bucket/prefix")
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)
