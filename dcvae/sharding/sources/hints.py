"""What the user says about a source because its files do not."""

from dataclasses import dataclass
from typing import Literal, TypedDict

TEST_FRACTION = 0.1
Understanding = Literal["auto", "folders", "none"]


@dataclass(frozen=True)
class Hints:
    """How to interpret a source.

    Attributes:
        test: fraction (below 1) or number of images to hold out if there is no test split; 0 for
            none.
        splits: whether folders called train, test and the like are splits: "auto" asks if that is
            not clear, "folders" takes them and leaves the rest out, "none" ignores their names.
        classes: whether folders are classes: "auto" asks if that is not clear, "folders" leaves
            out images in no folder, "none" takes all images without labels.
        labels: a file of labels for image files, a table's column, or a member's suffix in tars.
        image: the column or suffix that has the image, if there are several.
        follow_links: whether to follow links that lead outside a folder.
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
