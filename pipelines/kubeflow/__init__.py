"""Pipelines on a Kubeflow: compiled, uploaded, submitted, scheduled, as manifests."""
