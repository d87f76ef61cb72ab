"""The gate: may a model become the champion?"""

import math
from dataclasses import dataclass

from dcvae.errors import UserError
from dcvae.evaluation.results import Evaluation


@dataclass(frozen=True)
class Verdict:
    """The decision and its reason in one sentence."""

    passed: bool
    reason: str


def check_thresholds(thresholds: dict[str, float], evaluation: Evaluation) -> None:
    """Refuse thresholds that cannot be applied.

    Raises:
        UserError: a threshold is not a number, or its metric was not measured or is better when
            higher.
    """
    for name, maximum in thresholds.items():
        metric = evaluation.metrics.get(name)
        if metric is None:
            why = evaluation.left_out.get(name)
            measured = ", ".join(sorted(evaluation.metrics))
            raise UserError(
                f"the gate asks for {name}, which was not measured"
                + (f": {why}" if why else f"; there are: {measured}")
            )
        if metric.better == "higher":
            raise UserError(f"{name} is better when higher; thresholds are maxima, so leave it out")
        if math.isnan(maximum):
            raise UserError(f"the threshold of {name} is not a number")


def judge(
    candidate: Evaluation,
    champion: Evaluation | None,
    champion_version: int | None,
    thresholds: dict[str, float],
) -> Verdict:
    """Pass a candidate that meets all thresholds and is no worse than the current champion.

    They are compared by the metrics that have a threshold or, without thresholds, by the Fréchet
    distances; and only if both were measured by the same protocol on the same data.
    """
    check_thresholds(thresholds, candidate)
    values = candidate.values()
    for name, maximum in thresholds.items():
        if not values[name] <= maximum:  # a NaN does not pass
            return Verdict(False, f"{name} is {values[name]:.4g}, above the allowed {maximum:.4g}")
    if champion is None:
        return Verdict(True, f"there was no champion and {_met(thresholds)}")
    incomparable = differing(candidate, champion)
    if incomparable:
        return Verdict(
            False,
            f"it cannot be compared with the champion, version {champion_version}: "
            f"{incomparable}; evaluate the champion the same way or promote by hand",
        )
    return _against_champion(values, champion.values(), champion_version, list(thresholds))


def differing(ours: Evaluation, theirs: Evaluation) -> str:
    """Why the numbers of two evaluations cannot be compared; empty if they can."""
    differences = ours.differences(theirs)
    if not differences:
        return ""
    what = f"their evaluations differ in {', '.join(differences)}"
    if ours.protocol == theirs.protocol:
        return what
    return f"{what} (protocol {ours.protocol.label} here, {theirs.protocol.label} there)"


def compared_metrics(values: dict[str, float], names: list[str]) -> list[str]:
    """What two models are compared by: ``names``, or the Fréchet distances if there are none."""
    return names or [name for name in sorted(values) if name.startswith(("fd_", "fid_"))]


def _against_champion(
    ours: dict[str, float], theirs: dict[str, float], version: int | None, names: list[str]
) -> Verdict:
    names = compared_metrics(ours, names)
    if not names:
        return Verdict(
            False,
            f"nothing was measured that it could be compared by with the champion, version "
            f"{version}: set a threshold for a metric that both have, or promote by hand",
        )
    for name in names:
        if name not in theirs:
            return Verdict(False, f"the champion, version {version}, has no {name} to compare with")
        if not ours[name] <= theirs[name]:
            return Verdict(
                False,
                f"{name} is {ours[name]:.4g}, worse than {theirs[name]:.4g} of the champion, "
                f"version {version}",
            )
    shown = ", ".join(f"{name} {ours[name]:.4g} against {theirs[name]:.4g}" for name in names)
    return Verdict(True, f"it is no worse than version {version}: {shown}")


def _met(thresholds: dict[str, float]) -> str:
    if not thresholds:
        return "no threshold was set"
    return "every threshold is met: " + ", ".join(f"{n} ≤ {m:.4g}" for n, m in thresholds.items())
