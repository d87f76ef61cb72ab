"""Features of real images, kept so that the next evaluation on the same data need not make them."""

import hashlib
import json

from safetensors import SafetensorError
from safetensors.torch import load, save

from dcvae.evaluation.distances import Features
from dcvae.evaluation.extractors import Extractor
from dcvae.evaluation.results import Protocol
from dcvae.storage import NotFound, Storage


class Reference:
    """Features by data, choice and extractor, in a storage; without one, nothing is kept."""

    def __init__(self, storage: Storage | None) -> None:
        self.storage = storage

    def key(self, split: str, count: int, protocol: Protocol, extractor: Extractor) -> str:
        """Name of the features of ``count`` images of a split: a hash of all that decides them."""
        parts = {
            "data": protocol.dataset_fingerprint,
            "split": split,
            "images": count,
            "resolution": protocol.resolution,
            "seed": protocol.seed,
            "extractor": extractor.sha256,
            "input": extractor.input_size,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{extractor.name}/{digest[:32]}.safetensors"

    def get(self, key: str, count: int) -> Features | None:
        """The features under ``key``; None when there are none, or not ``count`` of them."""
        if self.storage is None:
            return None
        try:
            tensors = load(self.storage.read(key))
        except (NotFound, SafetensorError):
            return None
        values = tensors.get("values")
        if values is None or len(values) != count:
            return None
        return Features(values, tensors.get("logits"))

    def put(self, key: str, features: Features) -> None:
        """Keeps the features."""
        if self.storage is None:
            return
        tensors = {"values": features.values.contiguous()}
        if features.logits is not None:
            tensors["logits"] = features.logits.contiguous()
        self.storage.write(key, save(tensors))
