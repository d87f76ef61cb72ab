"""Uploads all pipelines to a Kubeflow Pipelines that keeps them in its database.

``python -m pipelines.kubeflow.upload --host URL``; what is already there is left alone. The Job in
k8s/components/pipelines runs this in the cluster.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from pipelines.command_line import use_image
from pipelines.kubeflow.client import Kubeflow, asked, every, named
from pipelines.kubeflow.package import Package, compiled, experiments


def main(arguments: list[str] | None = None) -> int:
    """Upload all pipelines and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.kubeflow.upload", description=__doc__
    )
    parser.add_argument("--host", help="Kubeflow Pipelines (KF_PIPELINES_ENDPOINT, or kubectl's)")
    parser.add_argument("--namespace", help="yours, if Kubeflow is multi-user")
    parser.add_argument("--image", help="image of the steps, pinned by version or digest")
    options = parser.parse_args(arguments)
    try:
        server = Kubeflow(options.host, options.namespace)
        for pipeline in experiments():
            if options.image is not None:
                use_image(pipeline, options.image)
            package = compiled(pipeline)
            new = upload(server, package)
            print(f"{package.version}: {'uploaded' if new else 'is there already'}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def upload(server: Kubeflow, package: Package) -> bool:
    """Upload the pipeline's current version; False if it was there already."""
    with asked(server.host):
        pipeline = _pipeline(server, package)

        def page(**options: Any) -> Any:
            return server.client.list_pipeline_versions(pipeline, **options)

        versions = every("pipeline_versions", page)
        if any(each.display_name == package.version for each in versions):
            return False
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "package.yaml"
            file.write_text(package.content)
            server.client.upload_pipeline_version(
                str(file), package.version, pipeline_id=pipeline, description=package.description
            )
    return True


def _pipeline(server: Kubeflow, package: Package) -> str:
    """The ID of the pipeline, which is created, without a version, if it does not exist."""
    import kfp_server_api

    api = kfp_server_api.PipelineServiceApi(server.client.pipelines.api_client)
    options = {"namespace": server.namespace} if server.namespace else {}
    which = named(package.name, "name")
    for each in server.client.list_pipelines(filter=which, **options).pipelines or []:
        if each.name == package.name:
            return str(each.pipeline_id)
    made = api.pipeline_service_create_pipeline(
        kfp_server_api.V2beta1Pipeline(
            display_name=package.title,
            name=package.name,
            description=package.description,
            namespace=server.namespace,
        )
    )
    return str(made.pipeline_id)


if __name__ == "__main__":
    sys.exit(main())
