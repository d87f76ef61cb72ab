"""Other registries, which people look at: each shows the versions that ours holds.

==============  ==================================================================
``s3``          none: the registry in the bucket alone
``kubeflow``    Kubeflow Model Registry, at ``DCVAE_REGISTRY_ADDRESS``
``mlflow``      MLflow, at ``MLFLOW_TRACKING_URI``
==============  ==================================================================

Content, numbers, the gate and its decisions stay in the bucket. A catalogue is updated afterwards,
so it may be behind for a moment, or as long as it cannot be reached; the next update adds
everything that it lacks.
"""

import os

from dcvae.environment import REGISTRY
from dcvae.errors import UserError
from dcvae.registry.catalogues.base import CHAMPION, Catalogue

KINDS = ("s3", "kubeflow", "mlflow")

__all__ = ["CHAMPION", "KINDS", "Catalogue", "check_kind", "open_catalogue"]


def check_kind(kind: str) -> str:
    """Return ``kind``. Raises UserError if there is no such registry."""
    if kind not in KINDS:
        raise UserError(f"there is no registry {kind!r}; use one of: {', '.join(KINDS)}")
    return kind


def open_catalogue(kind: str | None = None) -> Catalogue | None:
    """The catalogue of this kind, by default of the kind in ``DCVAE_REGISTRY``; None for s3.

    It is not contacted yet, see :meth:`Catalogue.check`.

    Raises:
        UserError: there is no such kind, its client is not installed or has no address.
    """
    chosen = check_kind(kind or os.environ.get(REGISTRY) or "s3")
    if chosen == "kubeflow":
        from dcvae.registry.catalogues.kubeflow import KubeflowCatalogue

        return KubeflowCatalogue()
    if chosen == "mlflow":
        from dcvae.registry.catalogues.mlflow import MlflowCatalogue

        return MlflowCatalogue()
    return None
