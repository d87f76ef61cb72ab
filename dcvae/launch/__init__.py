"""How ranks are started: as processes of this machine, or as a TrainJob on a cluster."""

from dcvae.launch.run import default_ranks, run_uri, train

__all__ = ["default_ranks", "run_uri", "train"]
