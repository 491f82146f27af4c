"""Put another public address everywhere: `make set-repo URL=https://github.com/OWNER/NAME`.

The address is held in one place, [project.urls] Repository in pyproject.toml. All others are derived from it:
links to GitHub, what setup cells install, the buttons for Colab and Binder, where the book is published. This
tool rewrites them in one pass, and tests/test_repository.py fails on one that differs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
URL = re.compile(r"https://github\.com/(?P<owner>[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38})/(?P<name>[A-Za-z0-9._-]{1,100})")

# Each kind of address that is derived, by what comes before OWNER/NAME. `pages` is of another shape.
PREFIXES = {
    "colab": "colab.research.google.com/github/",
    "binder": "mybinder.org/v2/gh/",
    "viewer": "nbviewer.org/github/",
    "raw": "raw.githubusercontent.com/",
    "ssh": "git@github.com:",
    "github": "github.com/",
}
KINDS = (*PREFIXES, "pages")

_NOT_BUILT = {".git", ".venv", "venv", "_build", "build", "dist", "__pycache__", "node_modules"}


@dataclass(frozen=True)
class Address:
    """A repository on GitHub, in all the forms in which it is written."""

    owner: str
    name: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read https://github.com/OWNER/NAME, forgiving a closing slash or .git, and nothing else."""
        match = URL.fullmatch(url.strip().removesuffix("/").removesuffix(".git"))
        if match is None or set(match["name"]) <= {"."}:
            raise ValueError(
                f"URL={url!r} is not the address of a repository. It has the form\n"
                "    make set-repo URL=https://github.com/OWNER/NAME\n"
                "where OWNER has letters, digits and single hyphens, and NAME letters, digits, '.', '_', '-'."
            )
        return cls(match["owner"], match["name"])

    @property
    def url(self) -> str:
        """The page of the repository."""
        return f"https://github.com/{self}"

    @property
    def pages(self) -> str:
        """Host and path of the published book, by the rules of GitHub Pages."""
        host = f"{self.owner.lower()}.github.io"
        return host if self.name.lower() == host else f"{host}/{self.name}"

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def current(root: Path = ROOT) -> Address:
    """The address that holds now, from the one place."""
    with (root / "pyproject.toml").open("rb") as file:
        return Address.parse(tomllib.load(file)["project"]["urls"]["Repository"])


def text_files(root: Path = ROOT) -> list[Path]:
    """The text files of the repository: tracked ones, and new ones that git does not ignore."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, check=True,
        ).stdout  # fmt: skip
        paths = [root / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        paths = [p for p in root.rglob("*") if not _NOT_BUILT & set(p.relative_to(root).parts)]
    return sorted(p for p in set(paths) if p.is_file() and not p.is_symlink() and _is_text(p))


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)


def pattern(address: Address) -> re.Pattern[str]:
    """Every form of this address, in any case; the name of the group that matched is the kind."""
    # NAME2, NAME-x and NAME.x are other repositories; NAME. ends a sentence.
    end = r"(?=\.git\b|(?![\w-])(?!\.[\w-]))"
    slug = re.escape(str(address))
    kinds = [f"(?P<{kind}>(?<={re.escape(prefix)}){slug}){end}" for kind, prefix in PREFIXES.items()]
    kinds.append(rf"(?P<pages>(?<![\w.-]){re.escape(address.pages)}){end}")
    return re.compile("|".join(kinds), re.IGNORECASE)


def rewrite(text: str, old: Address, new: Address) -> tuple[str, int]:
    """The text with every form of the old address in the form of the new one, and how many there were."""
    return pattern(old).subn(lambda match: new.pages if match.lastgroup == "pages" else str(new), text)


def set_repo(url: str, root: Path = ROOT) -> dict[Path, int]:
    """Rewrite the address in all files below root; gives the number of changes by file."""
    old, new = current(root), Address.parse(url)
    changed = {}
    for path in text_files(root):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        text, count = rewrite(text, old, new)
        if count and old != new:
            path.write_bytes(text.encode())  # bytes: line ends stay as they are
            changed[path.relative_to(root)] = count
    return changed


def main() -> int:
    """The command: rewrite, and say where."""
    try:
        old, new = current(), Address.parse(sys.argv[1] if len(sys.argv) == 2 else "")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if old == new:
        print(f"The address is {new.url} already; nothing was changed.")
        return 0
    changed = set_repo(new.url)
    for path, count in changed.items():
        print(f"{count:4d}  {path.as_posix()}")
    print(
        f"{sum(changed.values())} places in {len(changed)} files now say {new.url}; the book is to be at https://{new.pages}."
    )
    print("Next: 'git diff' shows them, 'make test' checks them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
