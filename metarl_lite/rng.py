"""The only source of randomness: a generator that is passed in, never a global state."""

from __future__ import annotations

import torch


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator with the given seed: equal seeds give equal numbers, to the bit.

    Everything random in this package takes such a generator as an argument. The global random states of torch,
    numpy and Python are neither read nor changed. All that is drawn lands on the generator's device.

    Args:
        seed: a non-negative integer.
        device: where the generator, and what is drawn from it, lives.

    Raises:
        ValueError: if the seed is not a non-negative integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(
            f"seed = {seed!r}: a non-negative integer is needed, such as generator(0)."
        )
    return torch.Generator(device=device).manual_seed(seed)


def uniform(
    shape: tuple[int, ...], gen: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Independent numbers from U[0, 1) on the generator's device."""
    _check(gen)
    return torch.rand(shape, generator=gen, device=gen.device, dtype=dtype)


def normal(
    shape: tuple[int, ...], gen: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Independent standard normal numbers on the generator's device."""
    _check(gen)
    return torch.randn(shape, generator=gen, device=gen.device, dtype=dtype)


def _check(gen: torch.Generator) -> None:
    if not isinstance(gen, torch.Generator):
        raise ValueError(
            f"gen = {gen!r}: chance comes from a torch.Generator, such as generator(0)."
        )
