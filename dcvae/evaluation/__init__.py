"""Measures of a trained model."""

from dcvae.evaluation.ahead import check_ahead, check_selection
from dcvae.evaluation.evaluator import evaluate, protocol_for
from dcvae.evaluation.protocol import Protocol, read_protocol
from dcvae.evaluation.results import Evaluation, read_evaluation

__all__ = [
    "Evaluation",
    "Protocol",
    "check_ahead",
    "check_selection",
    "evaluate",
    "protocol_for",
    "read_evaluation",
    "read_protocol",
]
