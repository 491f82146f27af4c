"""The setup cell, the same in every notebook: `tools.execute` writes it into the cell tagged "setup"."""

from __future__ import annotations

import re

from tools.set_repo import ROOT, current

TEXT = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("metarl_lite") is None:  # on Colab, say: the release of this page
    release = "git+{url}@v{version}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, release], check=True)

import torch

torch.set_num_threads(1)  # small networks: one thread is fastest and repeats to the bit"""


def setup_cell() -> str:
    """The source of the setup cell, with the repository's address from pyproject.toml and the package's version."""
    return TEXT.format(url=current().url, version=version())


def version() -> str:
    """The package's `__version__`, read without importing torch."""
    match = re.search(r'^__version__ = "(.+)"$', (ROOT / "metarl_lite" / "__init__.py").read_text(), re.MULTILINE)
    if match is None:
        raise ValueError('metarl_lite/__init__.py holds no line __version__ = "..."')
    return match[1]
