"""The setup cell, the same in every notebook: `tools.execute` writes it into the cell tagged "setup".

So does `python -m tools.setup_cell`, without running anything: the cell prints nothing, so no output changes with it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tools.set_repo import ROOT, current

# Colab folds the cell behind its title.
# Where everything is there and new enough, as in a clone, none of this prints or fetches anything. Dependencies come
# first: to import the package with an old one would be an error that says nothing of versions. One that is already
# imported cannot be replaced in a running kernel, so the student is asked. The package itself is imported and asked for
# its version: what an editable installation says of itself is the version on the day that it was installed.
TEXT = """\
#@title Setup
import subprocess
import sys
from importlib import invalidate_caches, metadata

from packaging.version import Version

lacking = {{}}  # what is missing, or older than the chapter needs
for need in {needs}:
    name, lowest = need.split(">=")
    have = [found.version for found in metadata.distributions(name=name)] or ["0"]
    if Version(have[0]) < Version(lowest):
        lacking[f"'{{need}}'"] = f"{{name}} {{have[0]}}"
if lacking:
    raise ImportError(f"{{', '.join(lacking.values())}} (0: missing), too old: "
                      f"%pip install {{' '.join(lacking)}}, then restart the kernel")
try:
    import metarl_lite
    ready = Version(getattr(metarl_lite, "__version__", "0")) >= Version("{version}")
except ImportError:
    ready = False
if not ready:  # on Colab, say
{notice}    source = "git+{url}@{reference}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, source], check=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "metarl_lite"]:
        del sys.modules[name]  # an older one that this kernel has imported
    invalidate_caches()

import torch
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
    return f"({halves[0]},\n             {halves[1]})"


def main(root: Path = ROOT) -> list[Path]:
    """The command: the notebooks in which the cell was another one, and now is this."""
    from tools import contents, notebook_format  # which import this module

    changed = []
    for path in contents.notebooks(root):
        before = path.read_text(encoding="utf-8")
        after = notebook_format.dumps(notebook_format.normalise(notebook_format.parse(before)))
        if after != before:
            notebook_format.write(path, after)
            changed.append(path)
    for path in changed:
        print(path.relative_to(root).as_posix())
    return changed


if __name__ == "__main__":
    main()
