"""The base of every section of the configuration, and the annotations of its fields."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MIN_RESOLUTION = 4
MAX_RESOLUTION = 1024


class Section(BaseModel):
    """Immutable and strict: no unknown names, no values of other types, no NaN, no infinity.

    The string below a field is its description in docs/settings.md.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Operational:
    """The type of ``OPERATIONAL``."""


OPERATIONAL: Final = Operational()
"""Annotates a field that does not affect the result, and so may change when a run is resumed."""


class Remedy:
    """The type of ``REMEDY``."""


REMEDY: Final = Remedy()
"""Annotates a field that may be changed to resume a run that a NaN has broken."""


def _power_of_two(value: int) -> int:
    if value & (value - 1):  # the sentence's subject is the setting
        raise ValueError("is not a power of two; use 4, 8, 16, … 512 or 1024")
    return value


Resolution = Annotated[
    int, Field(ge=MIN_RESOLUTION, le=MAX_RESOLUTION), AfterValidator(_power_of_two)
]
"""Side of square images in pixels."""
