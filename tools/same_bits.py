"""Are the numbers those of another revision, to the bit? `python -m tools.same_bits REVISION`.

Two working trees, this one and one of REVISION in a temporary folder, run the same list of computations on this machine
(`tools/bits.py`: each training function with a seed, each recorded agent's evaluation, each exact answer), each tree
with its own package. What comes out is compared by its digest. Code that is moved, split or made plainer keeps all of
them; bits differ from one processor to another, so nothing is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.set_repo import ROOT

BITS = ROOT / "tools" / "bits.py"


def digests(tree: Path, only: str) -> dict[str, str]:
    """What each computation gives in a tree, by name."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, str(BITS), only]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def differing(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The computations whose digests differ, and those that one of the trees could not do."""
    return sorted(name for name in old.keys() | new.keys() if old.get(name, "missing") != new.get(name, "missing"))


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 where all are equal, 1 where some differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.same_bits", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revision", help="what to compare this working tree with, such as v0.3.0")
    parser.add_argument("--only", default="", help="computations whose name begins so, such as maml")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="same-bits-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, options.revision], cwd=ROOT, check=True)
        try:
            print(f"{options.revision} ...", flush=True)
            old = digests(tree, options.only)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    print("this tree ...", flush=True)
    new = digests(ROOT, options.only)
    different = differing(old, new)
    for name in different:
        print(f"{name}: {old.get(name, 'not computed')} there, {new.get(name, 'not computed')} here")
    print(f"{len(new) - len(set(different) & new.keys())} of {len(old)} computations are equal to the bit")
    return 1 if different or not old else 0


if __name__ == "__main__":
    sys.exit(main())
