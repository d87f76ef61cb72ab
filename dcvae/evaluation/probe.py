"""How well a linear classifier reads the classes off the latents (paper 5.5 and A.7)."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcvae.errors import UserError

FRACTION = 0.8


@dataclass(frozen=True)
class Probe:
    """Classification errors of the trials, and which classes they confused."""

    errors: tuple[float, ...]
    """Error of each trial as a fraction in [0, 1]."""
    confusion: NDArray[np.int64]
    """Counts ``(classes, classes)``, true class by predicted class, summed over the trials."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.errors))

    @property
    def ci95(self) -> float:
        """Half the width of the 95 % confidence interval of the mean error (Student's t)."""
        from scipy.stats import t  # type: ignore[import-untyped]

        trials = len(self.errors)
        quantile = float(t.ppf(0.975, trials - 1))
        return quantile * float(np.std(self.errors, ddof=1)) / float(np.sqrt(trials))

    def tensors(self) -> dict[str, Tensor]:
        """What :meth:`of` makes it of again."""
        errors = torch.tensor(self.errors, dtype=torch.float64)
        return {"errors": errors, "confusion": torch.from_numpy(self.confusion)}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "Probe":
        """The one whose :meth:`tensors` these are."""
        return cls(tuple(tensors["errors"].tolist()), tensors["confusion"].numpy())


def probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    classes: int,
    seed: int = 0,
    trials: int = 5,
) -> Probe:
    """Train a logistic regression on ``train`` and measure its error on ``test``, several times.

    The encoder is frozen; latents are its means, standardised by the training set. The paper's
    interval is over 5 trials, but it does not say how they differ; here, every trial trains on its
    own random 80 % of the training set.

    Args:
        train: latents ``(N, d)``; ``test``: ``(M, d)``; labels int64 in ``0 … classes - 1``.

    Raises:
        UserError: all training labels are the same.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = train.double().numpy(), train_labels.numpy()
    x_test, y_test = test.double().numpy(), test_labels.numpy()
    if len(np.unique(y)) < 2:
        raise UserError("all training images are of one class")
    errors: list[float] = []
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        chosen = rng.permutation(len(x))[: max(2, round(FRACTION * len(x)))]
        if len(np.unique(y[chosen])) < 2:
            chosen = np.arange(len(x))
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        with warnings.catch_warnings():
            # Not converged after 300 steps is part of the protocol, not news.
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(x[chosen], y[chosen])
        predicted = classifier.predict(x_test)
        errors.append(float(np.mean(predicted != y_test)))
        np.add.at(confusion, (y_test, predicted), 1)
    return Probe(tuple(errors), confusion)
