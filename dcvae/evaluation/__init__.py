"""Measures of a trained model."""

from dcvae.evaluation.evaluator import evaluate
from dcvae.evaluation.results import Evaluation, read_evaluation

__all__ = ["Evaluation", "evaluate", "read_evaluation"]
