"""Images with labels, as the linear classifier reads them."""

from torch import Tensor

from dcvae.evaluation.passes import FirstRows
from dcvae.evaluation.principal import reduced


class Labelled:
    """The first ``most`` images that have labels, in rows; a part of a pass.

    ``latents`` are means of q(z|x), float32 ``(N, d)``; ``pixels`` the images themselves,
    :func:`~dcvae.evaluation.principal.reduced`; ``labels`` int64 ``(N,)``.
    """

    def __init__(self, most: int) -> None:
        self.latents, self.pixels, self.labels = (FirstRows(most) for _ in range(3))

    def add(self, mu: Tensor, images: Tensor, labels: Tensor | None) -> None:
        """Add a batch, unless it has no labels.

        Args:
            mu: ``(n, d)``, on any device.
            images: uint8 ``(n, C, r, r)``.
            labels: int64 ``(n,)``.
        """
        if labels is not None:
            self.latents.add(mu.float().cpu())
            self.pixels.add(reduced(images))
            self.labels.add(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def state(self) -> dict[str, Tensor]:
        """The state, as tensors."""
        return {name: rows.rows for name, rows in vars(self).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        for name, rows in vars(self).items():
            rows.restore({"rows": state[name]})
