"""KL[q_φ(z|x) || N(0, I)], the second term of Eqs. 1, 3 and 8."""

from torch import Tensor


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Closed form of the KL divergence: summed over dimensions, mean per image, scalar.

    ``mu`` and ``logvar`` are [N, D]. A mean per image does not change with batch or world size,
    unlike the released code's sum over the batch.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1).mean()
