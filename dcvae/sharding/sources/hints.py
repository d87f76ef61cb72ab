"""What a user says about a source that its files do not."""

from dataclasses import dataclass
from typing import Literal, TypedDict

TEST_FRACTION = 0.1
Understanding = Literal["auto", "folders", "none"]


@dataclass(frozen=True)
class Hints:
    """How a source is to be understood.

    Attributes:
        test: fraction (below 1) or number of images to hold out where there is no test split;
            0 for none.
        splits: whether folders called train, test and the like are splits: "auto" asks back
            where that is not clear, "folders" takes those and leaves the rest out, "none" says
            that they mean nothing.
        classes: whether folders are classes: "auto" asks back where that is not clear, "folders"
            leaves out what lies in none, "none" takes all images without labels.
        labels: a file of labels for image files, a table's column, or a member's suffix in tars.
        image: column or member's suffix that has the image, where there are several.
        follow_links: whether links to outside a folder are followed.
    """

    test: float = TEST_FRACTION
    splits: Understanding = "auto"
    classes: Understanding = "auto"
    labels: str | None = None
    image: str | None = None
    follow_links: bool = False


class HintOptions(TypedDict, total=False):
    """The fields of :class:`Hints` as keyword arguments."""

    test: float
    splits: Understanding
    classes: Understanding
    labels: str | None
    image: str | None
    follow_links: bool
