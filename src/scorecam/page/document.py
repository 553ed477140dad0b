"""The page as one self-contained HTML file: it includes its style, script and data."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from collections import Counter
from importlib import resources
from typing import Any

from scorecam.io.extras import require
from scorecam.io.files import write_text
from scorecam.page.content import LEVELS, Page
from scorecam.page.encoding import COARSE, encoded, examples_on_page, has_too_many_cells

SIGNS = {"problem": "✖", "warning": "▲", "note": "●"}
"""Every level has a sign, so that colour is never the only difference."""

AVERAGED = (
    f"To keep this page small, maps of more than {COARSE} × {COARSE} cells are averaged to that "
    "size."
)

_SCRIPTS = ("drawing.js", "detail.js", "gallery.js", "page.js")


def html(page: Page) -> str:
    """The page as one HTML document.

    It makes no requests, and its Content-Security-Policy allows only its own script. All texts are
    escaped. Characters that UTF-8 cannot encode (as in some file names) become question marks.

    Raises:
        MissingExtra: jinja2 is not installed.
        PhotoError: a picture cannot be decoded.
    """
    template = _template()
    style, script = _part("page.css"), "".join(map(_part, _SCRIPTS))
    coarse = has_too_many_cells(page)
    levels = Counter(finding.level for finding in page.findings)
    text: str = template.render(
        page=page,
        remarks=(*page.remarks, *([AVERAGED] if coarse else [])),
        policy=_policy(style, script),
        style=style,
        script=script,
        data=encoded(page, coarse=coarse),
        signs=SIGNS,
        counts=[(level, levels[level]) for level in LEVELS if levels[level]],
        examples=[examples_on_page(finding, page) for finding in page.findings],
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def write(page: Page, path: str | os.PathLike[str]) -> None:
    """Write the page to a file, replacing an existing one.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
        MissingExtra, PhotoError: see `html`.
    """
    write_text(path, html(page))


def _template() -> Any:
    jinja2 = require("jinja2", "audit", "write an HTML page")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("page.html.jinja"))


def _policy(style: str, script: str) -> str:
    """Allow only this style, this script, and pictures inside the file."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _part(name: str) -> str:
    """A file of this package, with the line endings that the browser hashes."""
    text = resources.files("scorecam.page").joinpath(name).read_text("utf-8")
    return text.replace("\r\n", "\n")
