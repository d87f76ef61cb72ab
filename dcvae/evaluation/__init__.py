"""Measures of a trained model, and the report that shows them with pictures."""

from dcvae.evaluation.results import Evaluation, read_evaluation
from dcvae.evaluation.run import evaluate

__all__ = ["Evaluation", "evaluate", "read_evaluation"]
