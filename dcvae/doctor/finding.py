"""What a check has found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Literal["ok", "note", "fail"]
    subject: str
    text: str
