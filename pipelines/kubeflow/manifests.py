"""All pipelines as Kubernetes resources, for a Kubeflow Pipelines that keeps them in Kubernetes.

``python -m pipelines.kubeflow.manifests FOLDER``, then ``kubectl apply -k FOLDER`` or an overlay of
it. The API server must run with ``--pipelinesStoreKubernetes=true``; one with a database has
``pipelines.kubeflow.upload``.
"""

import argparse
import sys
from pathlib import Path

import yaml

from dcvae.errors import UserError
from pipelines.command_line import use_image
from pipelines.kubeflow.package import Package, compiled, experiments


def main(arguments: list[str] | None = None) -> int:
    """Write the manifests and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.kubeflow.manifests", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--image", help="image of the steps, pinned by version or digest")
    options = parser.parse_args(arguments)
    try:
        for file in write(options.folder, options.image):
            print(file)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(folder: Path, image: str | None = None) -> list[Path]:
    """Write one file for each pipeline, and the kustomization that names them, last.

    A version cannot be changed once it is in a cluster, so its name contains a hash of its content:
    applying equal content has no effect, and new content becomes a new version beside the old one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for pipeline in experiments():
        if image is not None:
            use_image(pipeline, image)
        package = compiled(pipeline)
        files.append(folder / f"{package.name}.yaml")
        _write_one(package, files[-1])
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [file.name for file in files],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return [*files, folder / "kustomization.yaml"]


def _write_one(package: Package, file: Path) -> None:
    from kfp.compiler import Compiler
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    options = KubernetesManifestOptions(
        pipeline_name=package.name,
        pipeline_display_name=package.title,
        pipeline_version_name=package.version,
        pipeline_version_display_name=package.version,
        include_pipeline_manifest=True,
    )
    package.pipeline.description = package.description  # the one that explains the parameters
    Compiler().compile(
        package.pipeline,
        str(file),
        kubernetes_manifest_options=options,
        kubernetes_manifest_format=True,
    )


if __name__ == "__main__":
    sys.exit(main())
