"""Extracts 3,926 colour pictures from Debian's fonts-noto-color-emoji (SIL Open Font License 1.1).

    python -m benchmarks.emoji FOLDER [--font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf]

Writes each emoji, 136 x 128 with transparency as the font has it, to ``FOLDER/train`` or
``FOLDER/test``, named by its code points. An emoji and its variants of other skin tones are
one family, and a family lies on one side: every tenth of them, in a random order that is always
the same, is for testing. ``dcvae shard FOLDER DEST --resolution 64`` takes it from there.
"""

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TONES = range(0x1F3FB, 0x1F400)
LIGATURE = 4  # the type of an OpenType lookup
ONE_IN = 10


def code_points(font: TTFont) -> dict[str, tuple[int, ...]]:
    """The text that each glyph stands for: a character, or several that the font joins."""
    text = {glyph: (code,) for code, glyph in sorted(font.getBestCmap().items(), reverse=True)}
    joined: dict[str, tuple[str, ...]] = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in (getattr(each, "ExtSubTable", each) for each in lookup.SubTable):
            if table.LookupType == LIGATURE:
                for first, rest in table.ligatures.items():
                    joined |= {each.LigGlyph: (first, *each.Component) for each in rest}

    def spelt(glyph: str) -> tuple[int, ...]:
        if glyph in text:
            return text[glyph]
        return tuple(code for part in joined[glyph] for code in spelt(part))

    return {glyph: spelt(glyph) for glyph in (*text, *joined)}


def write(font: TTFont, folder: Path) -> dict[str, int]:
    """Write the pictures; return how many there are of each split."""
    text = code_points(font)
    families: dict[tuple[int, ...], dict[str, bytes]] = defaultdict(dict)
    for glyph, bitmap in font["CBDT"].strikeData[0].items():
        family = tuple(code for code in text[glyph] if code not in TONES)
        families[family]["-".join(f"{code:04x}" for code in text[glyph])] = bitmap.imageData
    count = dict.fromkeys(("train", "test"), 0)
    for split in count:
        (folder / split).mkdir(parents=True)
    for number, family in enumerate(sorted(families, key=scattered)):
        split = "train" if number % ONE_IN else "test"
        for name, picture in families[family].items():
            (folder / split / f"{name}.png").write_bytes(picture)
            count[split] += 1
    return count


def scattered(family: tuple[int, ...]) -> str:
    """A place in a random order that is the same for everybody."""
    return hashlib.sha256(repr(family).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--font", type=Path, default=Path(FONT))
    args = parser.parse_args()
    if not args.font.exists():
        raise SystemExit(f"{args.font} is missing; install Debian's fonts-noto-color-emoji")
    if args.folder.exists():
        raise SystemExit(f"{args.folder} is there already; name a new folder")
    for split, pictures in write(TTFont(args.font), args.folder).items():
        print(f"{split}: {pictures:,} pictures")


if __name__ == "__main__":
    main()
