"""Sphinx extension of the book: what the pages tell search engines, those who share a link, and those who cite.

Every page gets a description, a picture and one canonical address, which follows from pyproject.toml. The footer says
when the page changed, as git knows it. The title page says how to cite the book, as CITATION.cff has it. The folder of
the site gets index.html, sitemap.xml and 404.html.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from datetime import date
from html import escape
from pathlib import Path
from posixpath import join, normpath
from typing import Any

import yaml
from docutils import nodes
from readable import text_of

CITE, BY_CHAPTER = "<!-- cite -->", "<!-- exercises by chapter -->"
EXERCISES, PREDICTIONS, ANSWERS = "<!-- exercises -->", "<!-- predictions -->", "<!-- answers -->"
LONGEST = 200  # characters of a description; search engines cut it there
#: Addresses of a page in double quotes that are neither complete nor within the page.
PARAMETERS = re.compile(r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>', re.DOTALL)
RELATIVE = re.compile(r'\b(href|src|action|data-content_root)="(?!#|/|[a-z][a-z+.-]*:)([^"]*)"')


def public(root: Path) -> str:
    """Where the book is published, with a slash at its end; `make set-repo` changes it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Documentation"]).rstrip("/") + "/"


def page_address(app: Any, page: str) -> str:
    """The one address of a page: that of the title page is the address of the site."""
    return app.config.html_baseurl + ("" if page == app.config.root_doc else f"{page}.html")


def changed(root: Path, folder: str) -> dict[str, date]:
    """The day of the last commit that touched each file below a folder; empty where git does not know it."""
    asked = (
        ["git", "rev-parse", "--is-shallow-repository"],
        ["git", "log", "--format=%x00%cs", "--name-only", "--", folder],
    )
    try:
        shallow, log = (
            subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout for command in asked
        )
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        return {}
    days: dict[str, date] = {}
    for commit in log.split("\0")[1:] if shallow.strip() == "false" else []:
        day, *names = commit.split("\n")
        for name in filter(None, names):
            days.setdefault(name, date.fromisoformat(day))  # the newest comes first
    return days


def description(doctree: Any) -> str:
    """The first paragraph of a page, whole sentences of it where one ends early enough."""
    paragraphs = (text_of(node) for node in doctree.findall(nodes.paragraph))
    text = next((text for text in paragraphs if len(text) > 40), "")
    if len(text) <= LONGEST:
        return text
    cut = text[: LONGEST - 1]
    end = max(cut.rfind(stop) for stop in (". ", "? ", "; "))
    return cut[: end + 1].rstrip(";") if end > 60 else cut[: cut.rfind(" ")].rstrip(",;:") + "…"


def picture(app: Any, doctree: Any) -> tuple[str, str]:
    """The page's first drawing that is no vector graphic, or the book's, and its words."""
    for node in doctree.findall(nodes.image):
        file = app.builder.images.get(node["uri"], "")
        if file.endswith(".png"):
            return f"_images/{file}", node.get("alt", "")
    return "_static/social.png", "Four agents before and after one gradient step towards goals that they cannot see."


def tags(app: Any, page: str, title: str, doctree: Any) -> str:
    """The elements of a page's head that describe it."""
    text, (file, alt) = description(doctree), picture(app, doctree)
    properties = {
        "og:type": "website" if page == app.config.root_doc else "article",
        "og:site_name": app.config.project,
        "og:title": title,
        "og:description": text,
        "og:url": page_address(app, page),
        "og:image": app.config.html_baseurl + file,
        "og:image:alt": alt,
    }
    lines = [f'<meta property="{name}" content="{escape(value)}" />' for name, value in properties.items()]
    lines += [f'<meta name="description" content="{escape(text)}" />']
    lines += ['<meta name="twitter:card" content="summary_large_image" />']
    return "\n".join(["", *lines, ""])


def lines_of_signature(match: re.Match[str]) -> str:
    """A parameter to a line, as Sphinx writes a long signature, without a list that has descriptions and no terms."""
    inside = match[1].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'<div class="sig-lines">{inside}</div>'


def page_context(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """What the theme's templates find when they write a page."""
    to = context["pathto"]
    links = {"Cite this book": to(app.config.root_doc).rstrip("#") + "#cite", "Index": to("genindex")}
    line = " · ".join(f'<a href="{link}">{words}</a>' for words, link in links.items())
    context["theme_extra_footer"] = f"{app.config.html_theme_options.get('extra_footer', '')}<br />{line}"
    # docutils calls a list what has links for its children: a reader that is read to is told of a list without items.
    body = context.get("body", "").replace('role="list" class="citation-list"', 'class="citation-list"')
    context["body"] = PARAMETERS.sub(lines_of_signature, body)
    if doctree is None:  # the search, the index: no page of the book
        context["metatags"] = context.get("metatags", "") + '\n<meta name="robots" content="noindex" />'
        return
    if not any(doctree.findall(nodes.math)) and not any(doctree.findall(nodes.math_block)):
        # Sphinx gives MathJax to a page that has a formula, or whose pages have one, as the title page's do.
        scripts = context.get("script_files", [])
        context["script_files"] = [script for script in scripts if "MathJax" not in _source(script)]
    title = text_of(app.env.titles[pagename])
    context["metatags"] = context.get("metatags", "") + tags(app, pagename, title, doctree)
    context["pageurl"] = page_address(app, pagename)
    if pagename == app.config.root_doc:
        context["docstitle"] = ""  # its own title is the book's
    day = days(app).get(pagename)
    context["last_updated"] = f"{day.day} {day:%B %Y}" if day else None


def _source(script: Any) -> str:
    """What a script of a page says, or where it lies, with MathJax written in one way."""
    said = f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', {}).get('body', '')}"
    return said.replace("mathjax/", "MathJax/")


def days(app: Any) -> dict[str, date]:
    """The day of each page's last change."""
    if not hasattr(app, "book_days"):
        known = changed(Path(app.srcdir), "book")
        app.book_days = {name.rsplit(".", 1)[0]: day for name, day in known.items() if name.endswith((".md", ".ipynb"))}
    return dict(app.book_days)


# --- What is counted and cited --------------------------------------------------------------------


def citation(root: Path) -> str:
    """How to cite the book, in words and as BibTeX, from CITATION.cff."""
    known = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    year = re.search(r"\d{4}", str(known.get("date-released") or _copyright(root)))
    who, title = known["authors"][0]["name"], known["title"].partition(":")[0]
    entry = {
        "author ": f"{{{{{who}}}}}".replace("_", r"\_"),
        "title  ": f"{{{title}}}",
        "year   ": f"{{{year[0] if year else ''}}}",
        "version": f"{{{known['version']}}}",
        "url    ": f"{{{known['repository-code']}}}",
    }
    lines = ",\n".join(f"  {key} = {value}" for key, value in entry.items())
    words = f"{who} ({year[0] if year else ''}). *{title}*. Version {known['version']}. <{known['url']}>"
    return f"{words}\n\n```bibtex\n@software{{metarl_lite,\n{lines}\n}}\n```"


def _copyright(root: Path) -> str:
    return str(yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["copyright"])


def counted(notebooks: list[str]) -> dict[str, int]:
    """How many exercises check themselves, questions ask for a prediction, and answers of a quiz there are."""
    cells = [cell for text in notebooks for cell in json.loads(text)["cells"]]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return {
        EXERCISES: sum("check" in cell["metadata"].get("tags", []) for cell in cells),
        PREDICTIONS: prose.count("**Predict before you run"),
        ANSWERS: len(re.findall(r"<summary>\s*Answer", prose)),
    }


def fill_in(app: Any, docname: str, source: list[str]) -> None:
    """The citation, the counts and the links to exercises take the places of their comments."""
    if CITE in source[0]:
        source[0] = source[0].replace(CITE, citation(Path(app.srcdir)))
    if EXERCISES not in source[0]:
        return
    found = sorted(page for page in app.env.found_docs if re.fullmatch(r"book/\d\d[b-z]?_\w+", page))
    paths = [Path(app.srcdir, f"{page}.ipynb") for page in found]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    for mark, count in counted(texts).items():
        source[0] = source[0].replace(mark, str(count))
    by_chapter = [
        f"[{'primer' if path.name.startswith('00') else path.name[:3].lstrip('0').rstrip('_')}]({path.name}#exercises)"
        for path, text in zip(paths, texts, strict=True)
        if '"## Exercises' in text
    ]
    source[0] = source[0].replace(BY_CHAPTER, "By chapter: " + ", ".join(by_chapter) + ".")


# --- Files beside the pages -----------------------------------------------------------------------

NOT_FOUND = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="robots" content="noindex" /><title>Page not found: {title}</title><link rel="icon" href="data:," />
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 4rem auto; padding: 0 1rem; }}
li {{ margin: .2rem 0; }} input, button {{ font: inherit; padding: .3rem .6rem; }}
</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>It may have moved, or the address has a slip.
<a href="{address}">Begin at the title page</a>, or search the book:</p>
<form action="{address}search.html" role="search"><input name="q" type="search" aria-label="Search this book" />
<button>Search</button></form>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""


def moved(html: str, folder: str) -> str:
    """A page of a folder as a page of the folder above: what it points to is where it was."""

    def up(match: re.Match[str]) -> str:
        name, target = match.groups()
        ends = "/" if target.endswith("/") else ""
        return f'{name}="{normpath(join(folder, target)).removesuffix("/") + ends if target else folder}"'

    return RELATIVE.sub(up, html)


def finish(app: Any, error: Exception | None) -> None:
    """Writes index.html, 404.html and sitemap.xml."""
    if error or app.builder.name != "html":
        return
    out, root = Path(app.outdir), app.config.root_doc
    folder = root.rpartition("/")[0]
    first = (out / f"{root}.html").read_text(encoding="utf-8")
    (out / "index.html").write_text(moved(first, folder).replace('href="#"', f'href="{root}.html"'), encoding="utf-8")
    pages, titles = [*app.env.toctree_includes.get(root, [])], app.env.titles
    pages = [root, *pages, *sorted(set(app.env.found_docs) - {root, *pages})]
    links = [(page_address(app, page), text_of(titles[page])) for page in pages]
    items = "\n".join(f'<li><a href="{link}">{escape(words)}</a></li>' for link, words in links)
    missing = NOT_FOUND.format(title=escape(app.config.project), address=app.config.html_baseurl, links=items)
    (out / "404.html").write_text(missing, encoding="utf-8")
    known = days(app)
    urls = [f"<url><loc>{page_address(app, page)}</loc>{_changed(known.get(page))}</url>" for page in pages]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    (out / "sitemap.xml").write_text("\n".join([head, *urls, "</urlset>\n"]), encoding="utf-8")
    for surplus in ("fontawesome.js", "fontawesome.js.map", "fontawesome.js.LICENSE.txt"):
        (out / "_static" / "scripts" / surplus).unlink(missing_ok=True)


def _changed(day: date | None) -> str:
    return f"<lastmod>{day.isoformat()}</lastmod>" if day else ""


def configure(app: Any, config: Any) -> None:
    """The address comes from pyproject.toml; MathJax comes only where there is a formula."""
    config.html_baseurl = public(Path(app.srcdir))
    app.set_html_assets_policy("per_page")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this once."""
    app.connect("config-inited", configure, priority=900)
    app.connect("source-read", fill_in)
    app.connect("html-page-context", page_context, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
