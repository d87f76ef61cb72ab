"""Step: the numbers of the parts that a piece of work is divided into."""

from typing import List  # noqa: UP035 - the step's source is run behind `from typing import *`

from components.base import step


@step
def numbers(count: int) -> List[int]:  # noqa: UP006
    """Count; a loop over as many tasks as a parameter says needs a list of their numbers.

    Args:
        count: how many, at least 1.

    Returns:
        0, 1, … count - 1.
    """
    if count < 1:
        raise ValueError(f"the number of tasks is {count}: it must be 1 or more")
    return list(range(int(count)))
