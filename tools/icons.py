"""Cuts the icons that the pages show out of the theme's fonts: `python -m tools.icons` (after a new icon, or theme).

The two fonts of Font Awesome weigh 274 KB, and a page shows some twenty icons of them. The pieces are in
book/static/icons, under a name of their own, as the fonts' licence asks. custom.css names them before the
theme's fonts, from which a browser takes any other icon, and loads them only then.
"""

from __future__ import annotations

from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

ICONS = Path(__file__).resolve().parent.parent / "book" / "static" / "icons"
FREE = {
    "magnifying-glass": 0xF002, "xmark": 0xF00D, "download": 0xF019, "list": 0xF03A, "circle-half-stroke": 0xF042,
    "arrow-up": 0xF062, "chevron-down": 0xF078, "expand": 0xF065, "bars": 0xF0C9, "lightbulb": 0xF0EB,
    "angle-left": 0xF104, "angle-right": 0xF105, "angle-down": 0xF107, "code": 0xF121, "rocket": 0xF135, "file": 0xF15B,
    "sun": 0xF185, "moon": 0xF186, "file-pdf": 0xF1C1, "pencil": 0xF303,
}  # fmt: skip
FONTS = {"solid": ("fa-solid-900.ttf", FREE), "brands": ("fa-brands-400.ttf", {"github": 0xF09B})}


def cut(source: Path, codes: list[int]) -> TTFont:
    """A font with these code points alone."""
    font = TTFont(source, recalcTimestamp=False)
    cutter = Subsetter(Options(hinting=False, name_IDs=["*"]))
    cutter.populate(unicodes=codes)
    cutter.subset(font)
    if lacking := set(codes) - set(font.getBestCmap()):
        raise ValueError(f"{source.name} has no icon {', '.join(map(hex, sorted(lacking)))}")
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 6, 16):
            record.string = "BookIcons" if record.nameID == 6 else "Book Icons"
    font.flavor = "woff"
    return font


def main() -> None:
    """Writes both pieces."""
    import pydata_sphinx_theme

    theme = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    for name, (file, icons) in FONTS.items():
        cut(theme / "vendor" / "fontawesome" / "webfonts" / file, sorted(icons.values())).save(ICONS / f"{name}.woff")


if __name__ == "__main__":
    main()
