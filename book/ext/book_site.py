"""Sphinx extension of the book: docstrings are written for people, this makes web pages of them.

The package's docstrings hold Markdown's `code`, $inline$ and $$displayed$$ formulas, since they are also read in a
notebook and in an editor. Sphinx wants reStructuredText. The fields of a dataclass are explained by the comment
behind each; here they become parameters on the reference page. The footer gets the package's version, and one page
the table of recorded run times.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import statistics
from pathlib import Path
from typing import Any

from sphinx.util import inspect as inspecting

DISPLAYED = re.compile(r"^([ \t]*)\$\$(.+?)\$\$[ \t]*([.,;]?)[ \t]*$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<![\\$`])\$(?![\s$])([^$`]+?)(?<!\s)\$(?![\d$])")
INITIAL = re.compile(r"(?<=: )([A-Za-z])\.(?=\s|$)")
RUN_TIMES, YARDSTICK = "<!-- run times -->", "<!-- yardstick -->"
FIELD = re.compile(r"^ {4}(\w+): (.+?)(?: = (.+?))? {2,}# (.+)$", re.MULTILINE)


def formulas(text: str) -> str:
    """`$x$` and `$$x$$` become reStructuredText's math role and directive; `num_tasks: N.` begins no list."""

    def displayed(match: re.Match[str]) -> str:
        indent, tex, stop = match.groups()
        lines = [f"{indent}    {line.strip()}" for line in (tex.strip() + stop).splitlines()]
        return "\n".join(["", f"{indent}.. math::", "", *lines, ""])

    text = INITIAL.sub(r"\1\\.", DISPLAYED.sub(displayed, text))
    return INLINE.sub(lambda match: f":math:`{match[1].strip()}`", text)


def explained(source: str) -> list[str]:
    """What the comments behind the fields of a dataclass say, as parameters in reStructuredText."""
    lines = []
    for name, kind, default, comment in FIELD.findall(source):
        shape = re.match(r"\[[^]`]*\]", comment)
        text = f"`{shape[0]}`{comment[shape.end() :]}" if shape else comment
        lines.append(f":param {name}: {text}" + (f" (default ``{default}``)" if default else ""))
        lines.append(f":type {name}: {kind}")
    return lines


def before_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrites one docstring in place while its sections still read `Args:` and `Raises:`."""
    lines[:] = formulas("\n".join(lines)).splitlines()
    if isinstance(obj, type) and dataclasses.is_dataclass(obj):
        lines += ["", *explained(inspect.getsource(obj)), ""]
    app.book_docstring = list(lines)


def after_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Gives back the comment on a constant: napoleon takes what stands before its first colon for a type."""
    if what in ("data", "attribute"):
        lines[:] = app.book_docstring


def own_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """The arguments of a class are those of its `__init__`, where `__new__` takes whatever comes to check it."""
    if what != "class" or not (signature or "").startswith("(*args: "):
        return None
    if obj.__init__ is object.__init__:
        return "()", returned
    found = inspecting.signature(obj.__init__, bound_method=True)
    shown = inspecting.stringify_signature(found, show_return_annotation=False, unqualified_typehints=True)
    return shown, returned


def version(app: Any, config: Any) -> None:
    """The version is the package's own; it is written nowhere else."""
    import metarl_lite

    config.version = config.release = metarl_lite.__version__
    options = config.html_theme_options
    options["extra_footer"] = f"{options.get('extra_footer', '')} metarl_lite {metarl_lite.__version__}."


def run_times(app: Any, docname: str, source: list[str]) -> None:
    """The seconds that `make execute` recorded in the notebooks take the place of a comment, as a table."""
    if RUN_TIMES not in source[0]:
        return
    rows, products = ["| notebook | seconds |", "|---|---|"], []
    # Sphinx has found what _toc.yml names; 08b_topic is a second part of chapter 8.
    for page in sorted(page for page in app.env.found_docs if re.fullmatch(r"book/\d\d[b-z]?_\w+", page)):
        path = Path(app.srcdir, f"{page}.ipynb")
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title = "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")
        recorded = notebook["metadata"].get("metarl_lite", {})
        rows.append(f"| [{title}]({path.name}) | {recorded.get('seconds', float('nan')):.0f} |")
        products += [recorded["yardstick_ms"]] if "yardstick_ms" in recorded else []
    source[0] = source[0].replace(RUN_TIMES, "\n".join(rows))
    source[0] = source[0].replace(YARDSTICK, f"{statistics.median(products):.0f} ms" if products else "...")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this once."""
    app.setup_extension("reading")  # links, hover cards, numbers, folds, the pages of the reference
    app.connect("config-inited", version, priority=100)
    app.connect("source-read", run_times)
    app.connect("autodoc-process-signature", own_signature)
    app.connect("autodoc-process-docstring", before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", after_napoleon, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
