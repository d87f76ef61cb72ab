"""What the folders of a source mean: splits and classes. If that is unclear we ask, not guess.

Recognised, at the top or below one folder that holds everything: folders for training and testing,
in their usual spellings; and one folder per class, there or in each of those.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from dcvae.errors import UserError
from dcvae.sharding.sources.hints import Hints

MOST_FOLDERS = 200_000
_DEPTH = 4  # how many folders of a path are considered
_ROLES = {
    "train": r"train|training|trn",
    "test": r"test|testing|tst",
    "val": r"val|valid|validation|dev",
}
_BEFORE = r"(?:(?:images?|imgs?|data)[-_ ]?)?"
_AFTER = r"(?:[-_ ]?(?:set|split|data|images?|imgs?|\d+))?"
_SPELLINGS = {
    role: re.compile(f"{_BEFORE}(?:{names}){_AFTER}", re.IGNORECASE)
    for role, names in _ROLES.items()
}
_SHOWN = 4  # folders named in a message

Folder = tuple[str, ...]


class SplitAndClass(NamedTuple):
    """Where an image belongs: its split ("" if none is known), and its class folder."""

    split: str
    folder: str | None


class Layout(NamedTuple):
    """How paths are interpreted.

    Attributes:
        wrapper: the folder that holds everything, or "".
        own: the split of each folder, if the source has its own splits.
        classes: names of the class folders, sorted, or None.
        notes: what the user should know of it.
    """

    wrapper: str
    own: dict[str, str]
    classes: list[str] | None
    notes: list[str]

    @property
    def splits(self) -> tuple[str, ...]:
        """The source's own splits, "train" first."""
        return tuple(s for s in ("train", "test", "val") if s in self.own.values())

    def place(self, path: str) -> SplitAndClass | None:
        """Where the image at ``path`` belongs; None if it is left out."""
        parts = _below(self.wrapper, path)
        split = ""
        if self.own:
            split = self.own.get(parts[0], "") if len(parts) > 1 else ""
            if not split:
                return None
            parts = parts[1:]
        if self.classes is None:
            return SplitAndClass(split, None)
        return SplitAndClass(split, parts[0]) if len(parts) > 1 else None


def understand(uri: str, paths: Iterable[str], hints: Hints, labelled: bool) -> Layout:
    """What the folders in ``paths`` mean.

    Args:
        labelled: labels come from elsewhere, so folders are not classes.

    Raises:
        UserError: it is not clear; the message says what to do.
    """
    folders = _folders(uri, paths, hints)
    wrapper, notes = _wrapper(folders, hints), []
    if wrapper:
        folders = {folder[1:]: count for folder, count in folders.items()}
        notes.append(f"everything lies in {wrapper}/")
    own = _splits(uri, folders, hints)
    if own:
        notes += [f"{folder}/ is the split {split}" for folder, split in own.items()]
    classes = None if labelled else _classes(uri, folders, own, hints)
    return Layout(wrapper, own, classes, notes)


def role(folder: str) -> str:
    """ "train", "test" or "val" if a folder of this name usually holds that, else ""."""
    return next((r for r, spelling in _SPELLINGS.items() if spelling.fullmatch(folder)), "")


def _folders(uri: str, paths: Iterable[str], hints: Hints) -> dict[Folder, int]:
    """How many images are directly in each folder; deep folders count towards higher ones."""
    found: dict[Folder, int] = {}
    for path in paths:
        folder = _parts(path)[:-1][:_DEPTH]
        found[folder] = found.get(folder, 0) + 1
        if len(found) > MOST_FOLDERS:
            if hints.classes == hints.splits == "none":
                return {(): 1}
            raise UserError(
                f"{uri} has more than {MOST_FOLDERS:,} folders, too many to be classes: say "
                "--splits none and --classes none to take all images without labels"
            )
    return found


def _wrapper(folders: dict[Folder, int], hints: Hints) -> str:
    """The one folder that holds everything, unless it is a split or the only class."""
    tops = _inside(folders)
    if len(tops) != 1 or () in folders or (role(tops[0]) and hints.splits != "none"):
        return ""
    deeper = any(len(folder) > 1 for folder in folders)
    return tops[0] if deeper or hints.classes != "folders" else ""


def _inside(folders: Iterable[Folder]) -> list[str]:
    return sorted({folder[0] for folder in folders if folder})


def _below(wrapper: str, path: str) -> tuple[str, ...]:
    parts = _parts(path)
    return parts[1:] if wrapper and parts[:1] == (wrapper,) else parts


def _parts(path: str) -> tuple[str, ...]:
    """``PurePosixPath(path).parts`` of a relative path, in a tenth of the time."""
    return tuple(part for part in path.split("/") if part and part != ".")


def _splits(uri: str, folders: dict[Folder, int], hints: Hints) -> dict[str, str]:
    """The split of each folder."""
    tops = _inside(folders)
    roles = {top: role(top) for top in tops if role(top)}
    if hints.splits == "none":
        return {}
    if not roles:
        if hints.splits == "folders":
            raise UserError(f"{uri} has no folders for training and testing: leave --splits out")
        _refuse_deeper(uri, folders)
        return {}
    named = _listed(roles)
    if "train" not in roles.values():
        raise UserError(
            f"{uri} has {named} but no folder for training: name the folder above as the source, "
            "or say --splits none if these are no splits"
        )
    if len(set(roles.values())) < len(roles):
        raise UserError(
            f"{uri} has {named}, of which two mean the same: rename one, or say --splits none if "
            "these are no splits"
        )
    beside = [top for top in tops if top not in roles]
    loose = folders.get((), 0)
    if hints.splits == "auto" and (beside or loose):
        rest = " and ".join(
            [*([_listed(beside)] if beside else []), *([_images(loose)] if loose else [])]
        )
        raise UserError(
            f"{uri} has {named} beside {rest}: say --splits folders to take those as splits and "
            "leave the rest out, or --splits none if they are no splits"
        )
    if "test" not in roles.values():
        return {folder: r.replace("val", "test") for folder, r in roles.items()}
    return roles


def _refuse_deeper(uri: str, folders: Iterable[Folder]) -> None:
    """Refuse splits inside other folders, such as classes, which would be merged into one."""
    deep = {name for folder in folders for name in folder[1:] if role(name)}
    if {"train"} < {role(name) for name in deep}:
        raise UserError(
            f"{uri} has {_listed(sorted(deep))} inside other folders: put them at the top, name "
            "the folder that holds them as the source, or say --splits none if they are no splits"
        )


def _classes(
    uri: str, folders: dict[Folder, int], own: dict[str, str], hints: Hints
) -> list[str] | None:
    if hints.classes == "none":
        return None
    if own:
        folders = _merged((f[1:], n) for f, n in folders.items() if f and f[0] in own)
    inside, loose = _inside(folders), folders.get((), 0)
    if hints.classes == "folders":
        if not inside:
            raise UserError(f"{uri} has no class folders: leave --classes out")
        return inside
    if inside and loose:
        raise UserError(
            f"{uri} has {_listed(inside)} beside {_images(loose)} in no folder: say --classes "
            "folders to take the folders as classes and leave the rest out, or --classes none to "
            "take all images without labels"
        )
    return inside if len(inside) > 1 else None


def _merged(counts: Iterable[tuple[Folder, int]]) -> dict[Folder, int]:
    found: dict[Folder, int] = {}
    for folder, count in counts:
        found[folder] = found.get(folder, 0) + count
    return found


def _listed(folders: Iterable[str]) -> str:
    """``the folders a/, b/ and 7 more``."""
    names = [f"{folder}/" for folder in folders]
    shown, more = names[:_SHOWN], len(names) - _SHOWN
    text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"the folder{'s' * (len(names) > 1)} {text}"


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
