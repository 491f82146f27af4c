"""The only source of randomness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metarl_lite.rng import generator, normal, uniform


def test_same_seed_same_numbers() -> None:
    one, two, other = (uniform((5,), generator(seed), torch.float32) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def numbers(gen: torch.Generator) -> torch.Tensor:
    return torch.randint(2**62, (3,), generator=gen)


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**32 - 1])
def test_a_seed_of_32_bits_is_torchs(seed: int) -> None:
    assert torch.equal(numbers(generator(seed)), numbers(torch.Generator().manual_seed(seed)))


def test_all_64_bits_of_a_seed_count() -> None:
    """Torch's own generator takes the last 32 of them: that is why longer seeds are hashed."""
    assert torch.equal(numbers(torch.Generator().manual_seed(0)), numbers(torch.Generator().manual_seed(2**32)))
    seeds = [0, *(2**bit for bit in range(64)), 2**64 - 1, 2**63 + 1]
    assert len({tuple(numbers(generator(seed)).tolist()) for seed in seeds}) == len(seeds)
    assert torch.equal(numbers(generator(2**40)), numbers(generator(2**40)))


@pytest.mark.parametrize("seed", [2**64, 2**64 + 1])
def test_a_seed_beyond_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="at most 64 bits"):
        generator(seed)


def test_the_global_state_is_untouched() -> None:
    before = torch.random.get_rng_state()
    normal((5,), generator(0), torch.float64)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_senseless_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer is needed"):
        generator(seed)


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("dtype", ["float32", np.float32, torch.long])
def test_a_type_that_is_none_is_refused(draw: Any, dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"dtype = .*: a floating-point type of torch is needed"):
        draw((2,), generator(0), dtype)
