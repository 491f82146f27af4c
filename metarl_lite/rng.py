"""The only source of randomness: a generator that is passed in, never a global state."""

from __future__ import annotations

import hashlib

import torch

from .given import check_dtype, integer


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator with the given seed: equal seeds give equal numbers, to the bit, and others other numbers.

    Everything random in this package takes such a generator as an argument. The global random states of torch,
    numpy and Python are neither read nor changed. All that is drawn lands on the generator's device.

    Torch's generator on the CPU reads no more than the last 32 bits of a seed. A seed below 2^32 is taken as it is; a
    longer one is hashed, so that all its bits count. Among so many seeds two may meet: those of a given pair do with
    a probability of 2^-32.

    Args:
        seed: a non-negative integer of at most 64 bits.
        device: where the generator, and what is drawn from it, lives.

    Raises:
        ValueError: if the seed is no such integer, or there is no such device.
    """
    plain = integer(seed)
    if plain is None or not 0 <= plain < 2**64:
        raise ValueError(
            f"seed = {seed!r}: a non-negative integer is needed, such as generator(0), "
            "of at most 64 bits."
        )
    if plain >= 2**32:
        plain = int.from_bytes(hashlib.sha256(plain.to_bytes(8)).digest()[:8])
    try:
        return torch.Generator(device=device).manual_seed(plain)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device = {device!r}: a device that is here is needed, such as 'cpu' "
            f"({str(error).splitlines()[0]:.100})."
        ) from None


def uniform(
    shape: tuple[int, ...], gen: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Independent numbers from U[0, 1) on the generator's device."""
    check_generator(gen)
    check_dtype(dtype)
    return torch.rand(shape, generator=gen, device=gen.device, dtype=dtype)


def normal(
    shape: tuple[int, ...], gen: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Independent standard normal numbers on the generator's device."""
    check_generator(gen)
    check_dtype(dtype)
    return torch.randn(shape, generator=gen, device=gen.device, dtype=dtype)


def check_generator(gen: torch.Generator) -> None:
    """Refuses a seed, or nothing, where a generator is needed."""
    if not isinstance(gen, torch.Generator):
        raise ValueError(
            f"gen = {gen!r}: chance comes from a torch.Generator, such as generator(0)."
        )
