"""Files are whole or not there, and say clearly what is wrong with them."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.checkpoint import load, save, write_atomically
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    policy = MLPPolicy(2, 2, generator(0))
    save(policy.params(), tmp_path / "a.safetensors")
    again = policy.replace(load(tmp_path / "a.safetensors"))
    for name, p in policy.params().items():
        assert torch.equal(p, again.params()[name])


def test_a_view_is_saved_as_it_looks(tmp_path: Path) -> None:
    table = torch.arange(6.0).reshape(2, 3)
    save({"turned": table.mT, "part": table[:, 1]}, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert torch.equal(loaded["turned"], table.mT)
    assert torch.equal(loaded["part"], table[:, 1])


def test_two_names_of_one_tensor_are_two_tensors_in_the_file(tmp_path: Path) -> None:
    table = torch.arange(6.0)
    save({"one": table, "two": table, "part": table[2:]}, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert torch.equal(loaded["one"], table)
    assert torch.equal(loaded["two"], table)
    assert torch.equal(loaded["part"], table[2:])


def test_what_is_no_dict_of_parameters_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"such as policy\.params\(\), not an MLPPolicy\.$"):
        save(MLPPolicy(2, 2, generator(0)), tmp_path / "a.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"such as policy\.params\(\), not one with 'w': 1\.0\.$"):
        save({"w": 1.0}, tmp_path / "a.safetensors")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


# --- Writing: the old file or the new one -----------------------------------------------------------------------------


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c.json", b"{}")
    assert (tmp_path / "a" / "b" / "c.json").read_bytes() == b"{}"


def failing(error: BaseException) -> Any:
    def fail(*given: Any) -> None:
        raise error

    return fail


NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [NO_SPACE, KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "a.safetensors"
    save({"w": torch.ones(3)}, path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(error))
        with pytest.raises(type(error)) as caught:
            save({"w": torch.zeros(3)}, path)
    assert load(path)["w"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    if isinstance(caught.value, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(path)
        assert "what was there before is as it was" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is a thing of Linux")
def test_a_disk_that_is_really_full_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device; what was there before is as it was: .*a'") as caught:
        write_atomically(tmp_path / "a", b"much")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"what was there before is as it was: .*run\.state"):
        write_atomically(tmp_path / "file" / "run.state", b"much")
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"Permission denied; what was there before is as it was: .*a'"):
            write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
    finally:
        tmp_path.chmod(0o755)


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"hal")
    write_atomically(tmp_path / "a", b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"whole")]


@pytest.mark.parametrize("path", [3, None, ""])
def test_what_names_no_file_is_refused(path: Any) -> None:
    for act in (load, lambda path: save({"w": torch.ones(3)}, path)):
        with pytest.raises(ValueError, match=r"path = .*: the name of a file is needed, such as path=\"run\.ck\""):
            act(path)


def test_a_number_of_the_system_comes_with_the_systems_own_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    places = [tmp_path / "file" / "a", tmp_path / "file" / "folder" / "a", tmp_path / ("long" * 100)]
    if Path("/proc/self").exists():
        places.append(Path("/proc/a"))
    for path in places:
        with pytest.raises(OSError, match=r"what was there before is as it was") as caught:
            save({"w": torch.ones(3)}, path)
        number, said = re.match(r"\[Errno (\d+)\] (.*); what was", str(caught.value)).groups()  # type: ignore[union-attr]
        assert said.startswith(os.strerror(int(number)))
        assert caught.value.errno == int(number)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.filterwarnings("ignore")  # of torch, that quantised tensors are about to go
@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("w", lambda: torch.eye(3).to_sparse(), r"'w', a tensor of shape \[3, 3\] of torch.float32 \(torch.sparse_coo"),
        ("w", lambda: torch.eye(3).to_sparse_csr(), r"'w', .*\(torch.sparse_csr, on cpu\)"),
        ("w", lambda: torch.eye(3, device="meta"), r"'w', .*on meta\)"),
        ("w", lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), r"'w', .*of torch.qint8"),
        ("\ud800", lambda: torch.eye(3), r"a safetensors file cannot hold"),
        ("__metadata__", lambda: torch.eye(3), r"the name '__metadata__', which the format keeps for itself"),
    ],
)
def test_what_no_file_can_hold_is_named(name: str, make: Any, words: str, tmp_path: Path) -> None:
    save({"b": torch.ones(3)}, tmp_path / "a")
    with pytest.raises(ValueError, match=words):
        save({"b": torch.zeros(3), name: make()}, tmp_path / "a")
    assert load(tmp_path / "a")["b"].tolist() == [1, 1, 1], "what was there before is still there"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_in_the_way_of_what_is_written_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.part").mkdir()
    with pytest.raises(
        OSError, match=r"Is a directory; what was there before is as it was; 'a\.part', where .* is a folder"
    ):
        save({"w": torch.ones(3)}, tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match=r"Is a directory; what was there before is as it was: .*b'"):
        save({"w": torch.ones(3)}, tmp_path / "b")


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save({"w": torch.ones(300)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load(path)


def test_want_of_memory_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(content: bytes) -> Any:
        raise MemoryError("its own")

    save({"w": torch.ones(1)}, tmp_path / "a.safetensors")
    monkeypatch.setattr("metarl_lite.checkpoint.parse", greedy)
    with pytest.raises(MemoryError, match="its own"):
        load(tmp_path / "a.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*b\.safetensors"):
        load(tmp_path / "b.safetensors")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: Is a directory\. Choose another file"):
        load(tmp_path)
