"""Metrics of the storage layer, for all storages of the process."""

from prometheus_client import Counter

REQUESTS = Counter("dcvae_storage_requests", "Storage requests sent.", ["operation"])
RETRIES = Counter("dcvae_storage_retries", "Storage requests sent again after a fault.")
ERRORS = Counter("dcvae_storage_errors", "Storage operations that were given up.")
