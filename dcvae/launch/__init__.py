"""How ranks are started: as processes of this machine, or as a TrainJob on a cluster."""

from dcvae.launch.train import check, default_ranks, train

__all__ = ["check", "default_ranks", "train"]
