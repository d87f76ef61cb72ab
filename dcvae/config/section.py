"""What every section of the configuration has in common, and what a field may say of itself."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MIN_RESOLUTION = 4
MAX_RESOLUTION = 1024


class Section(BaseModel):
    """Immutable and strict: no unknown names, no value of another type, no NaN and no infinity.

    The string below a field is its description, in errors and in docs/settings.md.
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
"""Annotates a field that does not decide the result: it may be another when a run is resumed."""


class Remedy:
    """The type of ``REMEDY``."""


REMEDY: Final = Remedy()
"""Annotates a field that may be changed to go on with a run that a NaN has broken."""


def _power_of_two(value: int) -> int:
    if value & (value - 1):  # the sentence's subject is the setting
        raise ValueError("is not a power of two; use 4, 8, 16, … 512 or 1024")
    return value


Resolution = Annotated[
    int, Field(ge=MIN_RESOLUTION, le=MAX_RESOLUTION), AfterValidator(_power_of_two)
]
"""Side of square images in pixels."""
