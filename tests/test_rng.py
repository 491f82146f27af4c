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
