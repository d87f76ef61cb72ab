"""Pipelines on Kubeflow: compile, upload, submit, schedule, or write as manifests."""
