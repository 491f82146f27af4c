"""Files: parameters as safetensors. Every write is atomic. The file of a run is `State.save`'s, in `state.py`."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load as parse
from safetensors.torch import save as serialise

from .given import as_params, as_path, described
from .types import Params


def save(params: Params, path: str | os.PathLike[str]) -> None:
    """Writes parameters to a safetensors file, whole or not at all.

    Raises:
        ValueError: if these are no parameters, or the path is none.
        OSError: if the file cannot be written; what was there before is still there.
    """
    params = as_params(params, "policy.params()", empty=True)
    path = as_path(path=path)
    if RESERVED in params:
        raise ValueError(
            f"params have the name {RESERVED!r}, which the format keeps for itself: "
            "choose another."
        )
    # copies: two names may share a tensor, of which a file has two as well
    one = torch.contiguous_format
    try:
        whole = {n: p.detach().clone(memory_format=one) for n, p in params.items()}
        content = serialise(whole)
    except Exception:
        _blame(params)
        raise
    write_atomically(path, content)


# What a safetensors file has under this name is no tensor.
RESERVED = "__metadata__"


def _blame(params: Params) -> None:
    """Names, where parameters could not be written, the first that a file cannot hold."""
    for name, p in params.items():
        try:
            serialise({name: p.detach().clone(memory_format=torch.contiguous_format)})
        except Exception as error:
            raise ValueError(
                f"params hold {name!r}, {described(p)} of {p.dtype} ({p.layout}, on "
                f"{p.device}), which a safetensors file cannot hold ({error}): save "
                "plain numbers under a plain name, such as p.to_dense()."
            ) from error


def load(path: str | os.PathLike[str]) -> Params:
    """Reads parameters from a safetensors file; `policy.replace(load(path))` puts them to use.

    Of the file of a run (`checkpoint="run.ck"`) it reads all tensors, those of the optimiser too; what the policy has
    learned is `params_of("run.ck")`.

    Raises:
        ValueError: if there is no such file, or it is not a whole safetensors file.
    """
    file = as_path(path=path)
    try:
        return parse(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"no file {str(path)!r} to load parameters from; save(params, path) writes "
            "one."
        ) from None
    except OSError as error:
        raise ValueError(
            f"{str(path)!r} cannot be read: {error.strerror}. Choose another file."
        ) from error
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}); it may be "
            "truncated, empty or of another format: delete it, or choose another file."
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file in one move, so that an interruption leaves the old one or the new one, never a half.

    Raises:
        OSError: with the file and the reason, if it cannot be written; the old one is as it was.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content is there before the name is
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        number, reason = _reason(error)
        reason += "; what was there before is as it was"
        if os.path.isdir(temporary):
            reason += f"; {temporary.name!r}, where it is written first, is a folder"
        raise OSError(number, reason, str(path)) from error


def _reason(error: OSError) -> tuple[int | None, str]:
    """Why a file cannot be written, as the system says it, and its number for that."""
    if isinstance(error, FileExistsError):  # of its folder: a file has that name
        return errno.ENOTDIR, os.strerror(errno.ENOTDIR)
    said = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):  # all folders were made, or tried
        said += ", and none can be made there"
    return error.errno, said
