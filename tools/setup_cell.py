"""The setup cell, the same in every notebook: `tools.execute` writes it into the cell tagged "setup"."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tools.set_repo import ROOT, current

# Where the package is there and new enough, as in a clone, none of this prints or fetches anything. It is imported and
# asked for its version: what an editable installation says of itself is the version on the day that it was installed.
TEXT = """\
import subprocess
import sys
from importlib import invalidate_caches, metadata

import torch
from packaging.version import Version

try:
    import metarl_lite
    ready = Version(metarl_lite.__version__) >= Version("{version}")
except ImportError:
    ready = False
if not ready:  # on Colab, say
    for need in {needs}:
        name, lowest = need.split(">=")
        have = metadata.version(name)
        if Version(have) < Version(lowest):
            raise ImportError(f"{{name}} {{have}}, too old: %pip install '{{need}}', restart")
{notice}    source = "git+{url}@{reference}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, source], check=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "metarl_lite"]:
        del sys.modules[name]  # an older one that this kernel has imported
    invalidate_caches()

torch.set_num_threads(1)  # small networks: one thread is fastest and repeats to the bit"""
NOTICE = """\
    print("{version} has no tag yet: this is the branch main, and numbers may differ")
"""


def setup_cell(root: Path = ROOT, release: str | None = None) -> str:
    """The source of the setup cell, with the address and lower bounds of pyproject.toml and the package's version.

    Args:
        root: the folder of the repository.
        release: another version than the one in the folder, such as the one that it is about to become.
    """
    own = release or version(root)
    return TEXT.format(
        url=current(root).url,
        version=own,
        reference=reference(own),
        needs=_broken(needs(root)),
        notice=NOTICE.format(version=own) if is_development(own) else "",
    )


def version(root: Path = ROOT) -> str:
    """The package's `__version__`, read without importing torch."""
    text = (root / "metarl_lite" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None:
        raise ValueError('metarl_lite/__init__.py holds no line __version__ = "..."')
    return match[1]


def is_development(release: str) -> bool:
    """Whether this version is on the way to a release, such as 0.4.0.dev0, and so has no tag."""
    return ".dev" in release


def reference(release: str) -> str:
    """What git is asked for to have this version: its tag, or `main` where there is none yet."""
    return "main" if is_development(release) else f"v{release}"


def needs(root: Path = ROOT) -> list[str]:
    """The dependencies with their lower bounds, such as `torch>=2.6`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def _broken(words: list[str]) -> str:
    middle = (len(words) + 1) // 2
    halves = [", ".join(f'"{word}"' for word in part) for part in (words[:middle], words[middle:])]
    return f"({halves[0]},\n                 {halves[1]})"
