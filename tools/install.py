"""Install the package and what it needs, and say first how much that is: what `make` does before anything else.

    .venv/bin/python -m tools.install book [--torch cpu] [--constraints FILE] [--goals WORDS] [-- FLAGS OF PIP]

runs at the repository's root and installs into the environment of that Python. On Linux the PyTorch that pip finds by
itself brings libraries for GPUs, ten times as much as all the rest. With `--torch cpu` uv fetches PyTorch's CPU build
from PyTorch's own index, and pip the rest; where that index is not reached, pip does it all. Only the standard library
is used: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = (sys.executable, "-m", "pip")
UV = (sys.executable, "-m", "uv")
UV_NEEDED = "uv>=0.7"  # the first series in which --torch-backend is no preview

# Gigabytes to fetch, measured in November 2026 with the tested versions on x86-64 and, for the Mac, on arm64.
GPU_BUILD_GB, CPU_BUILD_GB, MAC_BUILD_GB = 2.7, 0.2, 0.1
REST_GB = {"book": 0.1, "test,cli": 0.2}
# Gigabytes that .venv then takes on disk.
GPU_DISK_GB, CPU_DISK_GB = 5.6, 1.6

# uv's settings for asking whether the index is there: an answer within seconds, or none.
IMPATIENT = {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"}
PATIENCE_S = 60
NOT_REACHED = re.compile("Failed to fetch|Failed to download|timed out", re.IGNORECASE)
LARGE_DOWNLOAD = re.compile(r"Downloading (?:\S*/)?([\w.]+)-\d\S* \(([5-9]\d|\d{3,})(?:\.\d)? MB\)")  # 50 MB and more


class InstallationFailed(Exception):
    """Something was not installed; the message says what to do, the reason has been printed."""


def say(text: str) -> None:
    """Printed at once: pip and uv write to the same screen."""
    print(text, flush=True)


# --- What there is to fetch -----------------------------------------------------------------------


def tested_versions(constraints: str) -> list[str]:
    """The flags that hold pip and uv to the tested versions, none where these do not apply."""
    if not constraints:
        return []
    if sys.version_info >= (3, 14):
        say("The tested versions are for Python 3.11 to 3.13; this one is newer and gets the newest of everything.")
        return []
    return ["--constraint", constraints]


def torch_requirement() -> str:
    """What pyproject.toml asks of PyTorch, such as `torch>=2.6`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(line for line in project["dependencies"] if re.match(r"torch\b", line))


def installed_torch(pins: Sequence[str]) -> str | None:
    """The version of PyTorch that is installed and need not be replaced, None if there is none."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
    release = version.partition("+")[0]  # 2.13.0+cpu is a build of 2.13.0
    if pins and Path(pins[1]).is_file():
        pin = re.search(r"^torch==(\S+)", Path(pins[1]).read_text(encoding="utf-8"), re.MULTILINE)
        if pin:
            return version if release == pin[1] else None
    lowest = torch_requirement().partition(">=")[2]
    return version if _numbers(release) >= _numbers(lowest) else None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def other_sources(pip_flags: Sequence[str]) -> list[str]:
    """The options by which pip is told to look elsewhere than by itself, in its configuration or in PIP_FLAGS."""
    configured = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    words = re.findall(r"(?:^|[.'\s-])(find-links|extra-index-url|index-url|no-index)\b", configured)
    words += re.findall(r"--(find-links|extra-index-url|index-url|no-index)\b", " ".join(pip_flags))
    return sorted(set(words))


def announcement(
    extras: str, torch: str | None, cpu: bool, command: str, elsewhere: Sequence[str] = (), system: str = sys.platform
) -> str:
    """How much will be fetched, and on the same screen what to do if that is too much.

    Args:
        extras: what is installed beside the package, a key of `REST_GB`.
        torch: the version of PyTorch that is there and stays, None if it is to be fetched.
        cpu: the CPU build was asked for.
        command: the command that was typed, such as `make book`.
        elsewhere: options that may lead pip to another build, see `other_sources`.
        system: as `sys.platform` has it.
    """
    rest = REST_GB[extras]
    if torch is not None:
        text = f"PyTorch {torch} is in .venv already and stays. What else is missing is fetched, at most {rest} GB."
        if cpu and system == "linux" and not torch.endswith("+cpu"):
            text += f"\nTo have the CPU build in its place: rm -r .venv && {command} TORCH=cpu"
        return text
    if system != "linux":  # pip's own build has no GPU libraries there
        return f"About {MAC_BUILD_GB + rest:.1f} GB will be fetched, once for all commands."
    if cpu:
        return f"About {_cpu_size(rest)} will be fetched, with PyTorch's CPU build."
    return f"""\
{_pips_own(rest, elsewhere)}
With PyTorch's CPU build it is {_cpu_size(rest)}. To have that one, stop this with Ctrl-C and type
    {command} TORCH=cpu"""


def _cpu_size(rest: float) -> str:
    return f"{CPU_BUILD_GB + rest:.1f} GB ({CPU_DISK_GB} GB on disk)"


def _pips_own(rest: float, elsewhere: Sequence[str]) -> str:
    text = f"""\
About {GPU_BUILD_GB + rest:.1f} GB will be fetched ({GPU_DISK_GB} GB on disk): the PyTorch that pip finds by itself
brings libraries for GPUs, which the book does not need."""
    return f"{text}\nIt is less if pip finds a CPU build by its {' and '.join(elsewhere)}." if elsewhere else text


# --- Fetching it ----------------------------------------------------------------------------------


def install_cpu_torch(pins: Sequence[str], pip_flags: Sequence[str], command: str) -> bool:
    """PyTorch's CPU build is installed by uv; False where its index is not reached, and pip has to do.

    Raises:
        InstallationFailed: the index was reached and there is another reason, which uv has printed.
    """
    if _run([*PIP, "install", "-qq", *pip_flags, *pins, UV_NEEDED]) != 0:
        say("pip did not get uv, which fetches PyTorch's CPU build; pip's reason is above.")
        return False
    fetch = [*UV, "pip", "install", "--python", sys.executable, "--torch-backend", "cpu", "--no-deps"]
    fetch += [*pins, torch_requirement()]
    try:
        asked = subprocess.run(
            [*fetch, "--dry-run"], env=os.environ | IMPATIENT, capture_output=True, text=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
        status, reason = asked.returncode, (asked.stdout + asked.stderr).strip()
    except subprocess.TimeoutExpired:
        status, reason = 1, f"the request timed out: no answer in {PATIENCE_S} s"
    if status == 0:
        if _run(fetch) == 0:
            return True
        raise InstallationFailed(
            "PyTorch's CPU build was found and not installed; uv's reason is above.\n"
            f"'{command} TORCH=cpu' tries again, '{command}' takes the PyTorch that pip finds by itself."
        )
    say(f"uv did not find PyTorch's CPU build. It says:\n{_indented(reason)}")
    if NOT_REACHED.search(reason):
        say("So PyTorch's own index was not reached.")
        return False
    raise InstallationFailed(
        "That is no matter of the network, so nothing else was tried.\n"
        f"'{command}' takes the PyTorch that pip finds by itself, '{command} TORCH=cpu CONSTRAINTS=' the newest build."
    )


def install_the_rest(extras: str, pins: Sequence[str], pip_flags: Sequence[str], command: str) -> None:
    """The package from this folder, editable, with its extras, by pip, which draws its bars on a terminal.

    Elsewhere, as in a log, large downloads are named as they begin.

    Raises:
        InstallationFailed: pip failed, and has printed its reason.
    """
    log = Path(".venv", "pip.log")
    log.write_text("", encoding="utf-8")
    bars = sys.stdout.isatty()
    line = [*PIP, "install", "-qq", "--progress-bar", "on" if bars else "off", "--log", str(log)]
    line += [*pip_flags, *pins, "--editable", f".[{extras}]"]
    with subprocess.Popen(line, env=_quiet()) as pip, log.open(encoding="utf-8", errors="replace") as account:
        while pip.poll() is None:
            for name, megabytes in LARGE_DOWNLOAD.findall(account.read()):
                if not bars:
                    say(f"    {name}, {megabytes} MB ...")
            time.sleep(0.5)
    if pip.returncode != 0:
        raise InstallationFailed(
            "\nThe installation failed. pip's reason is above, its whole account in .venv/pip.log.\n"
            f"'{command}' goes on from here.\n"
            f"If a tested version does not exist for this machine, take the newest: {command} CONSTRAINTS="
        )


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, env=_quiet(), check=False).returncode


def _quiet() -> dict[str, str]:
    return os.environ | {"PYTHONWARNINGS": "ignore"}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


# --- The command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if all is installed, 1 if not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.install", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("extras", choices=REST_GB)
    parser.add_argument("--torch", choices=["", "cpu"], default="", help="cpu: take PyTorch's CPU build")
    parser.add_argument("--constraints", default="", help="the file of tested versions; empty for the newest")
    parser.add_argument("--goals", default="setup", help="what was typed after `make`, for messages")
    parser.epilog = "What follows -- is passed on to `pip install`."
    own = list(sys.argv[1:] if arguments is None else arguments)
    own, pip_flags = (own[: own.index("--")], own[own.index("--") + 1 :]) if "--" in own else (own, [])
    options = parser.parse_args(own)
    command, cpu = f"make {options.goals}", options.torch == "cpu"
    try:
        pins = tested_versions(options.constraints)
        torch = installed_torch(pins)
        elsewhere = other_sources(pip_flags)
        say(announcement(options.extras, torch, cpu, command, elsewhere))
        say(f"Installing metarl_lite[{options.extras}] into .venv; this takes some minutes the first time ...")
        if cpu and torch is None and sys.platform == "linux":  # elsewhere pip's own build is a CPU build
            if not install_cpu_torch(pins, pip_flags, command):
                say(f"""\
Going on with pip alone. {_pips_own(REST_GB[options.extras], elsewhere)}
If that is too much, and you have a folder or a mirror with a CPU build, stop this with Ctrl-C and type
    {command} PIP_FLAGS="--find-links FOLDER\"""")
        install_the_rest(options.extras, pins, pip_flags, command)
    except InstallationFailed as failure:
        print(failure, file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. '{command}' goes on from here.", file=sys.stderr, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
