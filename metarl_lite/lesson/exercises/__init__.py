"""The exercises of all chapters, found by name; `chNN.py` holds those of chapter NN, and `chNNb.py` what is left."""

from __future__ import annotations

import importlib
import pkgutil

from .base import Exercise


def chapters() -> list[int]:
    """The chapters that have exercises."""
    return sorted(int(module.name[2:]) for module in pkgutil.iter_modules(__path__) if module.name[2:].isdigit())


def of_chapter(number: int) -> dict[str, Exercise]:
    """The exercises of one chapter by name, in their order there.

    Raises:
        ValueError: the chapter has none.
    """
    if number not in chapters():
        raise ValueError(f"chapter {number} has no exercises; chapters with exercises: {_listed(chapters())}")
    names = [name for _, name, _ in pkgutil.iter_modules(__path__) if name.startswith(f"ch{number:02d}")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in sorted(names)]
    return {exercise.name: exercise for module in modules for exercise in module.EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of that name, such as "6.1".

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    name = str(name)  # 2.3, a number, is meant as well
    chapter = name.partition(".")[0]
    if chapter.isdigit() and int(chapter) in chapters():
        found = of_chapter(int(chapter))
        if name in found:
            return found[name]
        raise ValueError(f"there is no exercise {name!r}; chapter {int(chapter)} has {_listed(found)}")
    known = [known for number in chapters() for known in of_chapter(number)]
    raise ValueError(f"there is no exercise {name!r}; known are {_listed(known)}")


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) or "(none)"  # type: ignore[call-overload]
