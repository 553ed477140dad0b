"""Names from outside are escaped in the terminal, in Markdown files and in figures."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

import scorecam as package
from command_line import EXPLAIN_OPTIONS, MODEL, Answer, picture, strict_json
from command_line import scorecam as command
from scorecam.base.wording import json_safe, one_line, visible
from scorecam.cli import progress
from scorecam.metrics.statistics import Interval
from scorecam.runs import figures, markdown, plots
from scorecam.runs.compare.plots import draw_training
from scorecam.runs.layout import Layout
from scorecam.runs.sanity.plots import draw_sanity, draw_strips
from scorecam.runs.tables import Curve, Point, Row

SOURCES = sorted(Path(package.__file__).parent.rglob("*.py"))

TITLE = "\x1b]0;owned\x07"
HOSTILE = {
    "a terminal's title": f"{TITLE}cat",
    "8-bit control codes": "a\x9b2Jb\x9d0;x\x9c",
    "line breaks": "cat\nscorecam: everything is verified\r\x08\x08dog",
    "text direction marks": "cat\u202egnp.exe\u2066\u200f",
    "line separators": "a\u2028b\u2029c\x85d\x0be",
    "a lone surrogate": "cat\udcff",
    "rich markup": "[red]cat[/red] :boom: [link=http://x.example]y[/link]",
    "HTML": "<script>alert(1)</script><img src=x onerror=y>",
    "the end of a table": "a | b\n\n# Heading\n",
    "a link": "[x](http://x.example) ![y](z.png) <http://a.example> http://b.example www.c.example",
    "a formula": "$\\frac{1}{0}$ a_b^c _hidden $$",
    "code": "`x` ``y`` ~~z~~ **b** __c__ *d*",
}
"""Names that have an effect wherever they are not escaped."""


def control_characters(text: str) -> list[str]:
    """Characters that a terminal does not display as they are, except line ends and tabs."""
    return [
        char
        for char in text
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\n\t"
    ]


# ── the modules that print and write ─────────────────────────────────────────────────────────

PRINTS = {"print", "echo", "secho", "print_json", "rule", "log"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
PRINTERS = {"rich", "termcolor", "tqdm"}
PRINTING_MODULE = "output.py"


def _printing(tree: ast.AST) -> Iterator[str]:
    """Whatever prints in a module: print and echo, writes to streams, imports of rich."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            owner, _, called = name.rpartition(".")
            if called in PRINTS and owner in ("", "typer", "click", "console", "rich"):
                yield name
            if called in ("write", "writelines") and owner.rpartition(".")[2] in STREAMS:
                yield name
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = names if isinstance(node, ast.Import) else [node.module or ""]
            yield from (module for module in modules if module.partition(".")[0] in PRINTERS)


def test_only_one_module_prints() -> None:
    printing = {
        path.name: calls
        for path in SOURCES
        if (calls := sorted(_printing(ast.parse(path.read_text("utf-8")))))
    }
    assert set(printing) == {PRINTING_MODULE}, printing


WRITES = {"write", "write_text", "write_bytes", "writelines", "create_text", "replacing", "open"}


def _writing(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Calls in a module that write: the function and its arguments, as source text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rpartition(".")[2] in WRITES:
                yield name, " ".join(ast.unparse(part) for part in node.args)


def test_every_markdown_file_is_written_by_one_module() -> None:
    writers: set[str] = set()
    for path in SOURCES:
        text = path.read_text("utf-8")
        for name, arguments in _writing(ast.parse(text)):
            if name == "markdown.write":
                writers.add(path.name)
            elif path.name != "markdown.py":
                assert not re.search(r"\.md\b|\.table\b|\.comparison_table\b", arguments), (
                    f"{path.name}: {name}({arguments})"
                )
        # Only `Layout` names Markdown files, and a module that takes one must use markdown.write.
        if path.name != "layout.py":
            assert not re.search(r"/ \"[a-z]+\.md\"", text), path.name
        if re.search(r"layout\.(table|comparison_table)\b", text):
            assert "markdown.write(" in text, path.name
    assert writers == {"compare.py", "results.py", "summary.py"}


def test_only_one_module_converts_text_to_markdown() -> None:
    makers = {
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Markdown")
    }
    assert makers == {"markdown.py"}


def test_templates_of_markdown_are_constants() -> None:
    """A template that contains a foreign name would not be escaped."""
    for path in SOURCES:
        if path.name == "markdown.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            owner, _, called = ast.unparse(node.func).rpartition(".")
            if owner != "self" and called in ("words", "paragraph", "heading"):
                template = node.args[1 if called == "heading" else 0]
                assert isinstance(template, ast.Constant), f"{path.name}:{node.lineno}"


# ── names ────────────────────────────────────────────────────────────────────────────────────

names = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


@names
def test_an_escaped_name_is_one_printable_line(name: str) -> None:
    assert control_characters(visible(name)) == []
    assert len(visible(name).splitlines()) == 1
    visible(name).encode("utf-8")
    assert visible(visible(name)) == visible(name)


@pytest.mark.parametrize("name", ["tiger cat", "Käse", "猫", "می‌خواهم", "👩‍🔬", "a_b.c-d"])
def test_ordinary_names_are_not_escaped(name: str) -> None:
    assert visible(name) == one_line(name) == name


@names
def test_escaping_json_does_not_change_its_value(name: str) -> None:
    for ascii_only in (False, True):
        text = json_safe(json.dumps({"name": name}, indent=2, ensure_ascii=ascii_only))
        assert control_characters(text) == []
        assert json.loads(text) == {"name": name}


class _Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(text: str) -> _Page:
    """Markdown rendered with tables, strikethrough and raw HTML."""
    page = _Page()
    page.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return page


@names
def test_a_name_in_markdown_is_shown_as_plain_text(name: str) -> None:
    for text, elements in (
        (markdown.paragraph("{}", name), {"p"}),
        (markdown.paragraph("{}", f"# {name}"), {"p"}),
        (markdown.paragraph("{}", f"1. {name}"), {"p"}),
        (markdown.paragraph("{}", f"- {name}"), {"p"}),
        (markdown.heading(2, "Of {}", name), {"h2"}),
        (markdown.table(["name"], [[name]]), {"table", "thead", "tbody", "tr", "th", "td"}),
    ):
        page = rendered(text)
        assert set(page.elements) == elements, text
        assert one_line(name) in "".join(page.texts)
        assert "<" not in text
        assert "://" not in text


def test_markdown_is_not_escaped_twice() -> None:
    cell = markdown.words("{} [{}]", "a*b", 1)
    assert markdown.words("{}", cell) == cell == r"a\*b [1]"


# ── commands ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(photo_folder: Path) -> Path:
    """Photos and classes with hostile names."""
    (photo_folder / "photos").mkdir()
    for seed, name in enumerate(HOSTILE.values()):
        file = os.fsencode(name.replace("/", "∕"))
        picture(seed).save(photo_folder / "plain.png")
        (photo_folder / "plain.png").rename(photo_folder / "photos" / os.fsdecode(file + b".png"))
    labels = [*HOSTILE.values()][:4]
    labels.append(HOSTILE["HTML"] + HOSTILE["a link"] + HOSTILE["a formula"])
    (photo_folder / "names.json").write_text(json.dumps(labels), "utf-8")
    return photo_folder


def photos() -> list[Path]:
    return sorted(Path("photos").iterdir())


def check_plain(answer: Answer, *codes: int) -> Answer:
    """The answer; a terminal displays each of its characters as it is."""
    assert answer.code in codes, answer
    for text in (answer.out, answer.err):
        assert control_characters(text) == []
        assert "scorecam: everything is verified" not in text.splitlines()
    return answer


def test_explain_show_and_check_print_escaped_names(folder: Path) -> None:
    answer = check_plain(command("explain", *photos(), *MODEL, "--runtime", "eager"), 0)
    assert r"\x1b]0;owned\x07cat" in answer.out
    bank = min(Path("out").glob("*.safetensors"))
    check_plain(command("show", bank, "--out", folder / "shown.png", "--force"), 0)
    for name in HOSTILE.values():
        check_plain(
            command("show", bank, "--target", name, "--out", f"{folder}/a.png", "--force"), 0, 2
        )
        check_plain(command("show", f"{name}.safetensors".replace("\0", "")), 2)
    answer = check_plain(command("explain", *photos(), *MODEL, "--json", "--out", "o2"), 0)
    assert len(answer.items) == len(HOSTILE)
    check_plain(command("check", *photos()[:3], *MODEL, "--runtime", "eager"), 0)
    check_plain(command("check", *photos()[:2], *MODEL, "--json"), 0)


@pytest.mark.usefixtures("folder")
def test_the_names_of_failed_photos_are_escaped() -> None:
    for photo in photos():
        photo.write_bytes(b"no photo")
    for words in (["explain"], ["check"], ["explain", "--json"], ["check", "--json"]):
        check_plain(command(*words, *photos(), *MODEL), 2)


@names
@pytest.mark.usefixtures("folder")
def test_hostile_values_of_options_are_escaped(name: str) -> None:
    photo = photos()[0]
    for option in EXPLAIN_OPTIONS:
        check_plain(command("explain", photo, *MODEL, f"--{option}", name), 0, 1, 2)
    for option in ("methods", "metrics", "annotations", "split", "shard", "target", "fill"):
        check_plain(command("evaluate", "photos", "--out", "r", *MODEL, f"--{option}", name), 2)
    check_plain(command("layers", "--model", name), 2)
    check_plain(command("audit", name), 2)
    check_plain(command("audit", "--explain", name), 2)
    check_plain(command("verify", name), 2)
    check_plain(command("compare", name, name, name, "--out", "c", "--fail-under", name), 2)
    check_plain(command("sanity", f"x{name}", "--out", "s", "--modes", name), 2)
    check_plain(command(f"x{name}"), 2)
    check_plain(command("explain", f"--{name}"), 2)
    check_plain(command("explain", photo, "--seed", name), 2)


@pytest.mark.needs("eval", "audit", "plot")
@pytest.mark.usefixtures("folder")
def test_runs_are_printed_and_written_with_escaped_names() -> None:
    run = ("--out", "run", *MODEL, "--runtime", "eager", "--metrics", "quick")
    check_plain(command("evaluate", "photos", *run, "--methods", "scorecam,uniform"), 0)
    check_plain(command("evaluate", "photos", *run, "--methods", "scorecam,uniform", "--json"), 0)
    check_plain(command("audit", "run", "--out", "report.html"), 0)
    check_plain(command("audit", "run", "--json"), 0)
    for record in Path("run").rglob("items/*/*/*.json"):
        record.write_text("{}", "utf-8")
    for words in (["verify", "run"], ["verify", "run", "--json"]):
        check_plain(command(*words), 0, 1, 2)
    sides = ("toy_models:tiny", "toy_models:tiny,precision=bfloat16", "photos", "--out", "both")
    check_plain(command("compare", *sides, *MODEL[2:]), 0)
    check_plain(command("compare", *sides, *MODEL[2:], "--json"), 0)
    sane = ("--out", "sane", *MODEL, "--methods", "edges", "--modes", "cascading")
    check_plain(command("sanity", *photos(), *sane), 0)
    check_plain(command("sanity", *photos(), *sane, "--json"), 0)
    check_plain(command("verify", "sane"), 0, 1)
    written = [Path("run/table.md"), Path("both/compare.md"), Path("sane/table.md")]
    for file in written:
        page = rendered(file.read_text("utf-8"))
        assert set(page.elements) <= {
            "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td",
        }  # fmt: skip
        assert control_characters("".join(page.texts)) == []
    shown = "".join(rendered(written[1].read_text("utf-8")).texts)
    assert "<script>alert(1)<∕script>" in shown


def test_layers_doctor_and_demo_print_escaped_names(folder: Path) -> None:
    check_plain(command("layers", *MODEL[:4]), 0)
    check_plain(command("layers", *MODEL[:4], "--json"), 0)
    check_plain(command("doctor"), 0)
    check_plain(command("demo", "--out", f"{folder}/{TITLE}"), 0, 2)


@pytest.mark.usefixtures("folder")
def test_remarks_and_notes_of_a_bank_are_escaped() -> None:
    """They come from a file that anyone may have written."""
    check_plain(command("explain", photos()[0], *MODEL, "--out", "o"), 0)
    [file] = Path("o").glob("*.safetensors")
    bank = package.ScoreBank.load(file)
    provenance = dataclasses.replace(bank.provenance, model=TITLE, budget=f"fast{TITLE}")
    dataclasses.replace(bank, provenance=provenance, layer=f"a{TITLE}").save("hostile.safetensors")
    check_plain(command("show", "hostile.safetensors"), 0)


def test_programs_get_strict_json(folder: Path) -> None:
    answer = command("explain", photos()[0], *MODEL, "--json")
    assert strict_json(answer.out)["items"][0]["target"]["name"] in json.loads(
        (folder / "names.json").read_text("utf-8")
    )


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@names
def test_a_progress_bar_shows_escaped_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    for kind in (progress.MaskProgressBar(name, "a model"), progress.RunProgressBar(name)):
        with kind:
            pass
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())  # rich's own control codes
    assert [char for char in control_characters(text) if char != "\r"] == []
    if len(name) < 60:
        assert visible(name) in text.replace("\n", "")


# ── figures ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def drawn_figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn."""
    from matplotlib.figure import Figure

    drawn: list[Any] = []

    class CollectedFigure(Figure):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(figures, "_figure_class", lambda: CollectedFigure)
    return drawn


@pytest.mark.needs("plot")
@names
def test_figures_show_names_and_not_formulas(
    name: str, drawn_figures: list[Any], tmp_path: Path
) -> None:
    from matplotlib.cbook import is_math_text
    from matplotlib.text import Text

    interval = Interval(0.5, 0.4, 0.6, 3)
    own, other = name, f"_{name}"
    rows = [
        Row(method, outcome, "all", interval, against=against)
        for method, against in ((own, None), (other, None), (other, own))
        for outcome in ("average_drop", "average_increase")
    ]
    curve = Curve()
    for _ in range(2):
        curve.add([0.0, 0.5, 1.0])
    curves = {own: {name: curve}, other: {name: curve}}
    titles = dict.fromkeys(("average_drop", "average_increase"), name)
    plots.draw(Layout(tmp_path), rows, curves, titles)
    draw_sanity(Layout(tmp_path), [Point(own, name, name, "spearman", interval, 0)])
    photo = np.zeros((4, 4, 3), np.uint8)
    draw_strips(tmp_path / "strip.png", photo, [name], {own: [np.eye(2)]})
    draw_training(tmp_path / "training.png", [own, other], [interval] * 2, [interval] * 2)
    assert len(drawn_figures) == 6
    for figure in drawn_figures:
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert not [text for text in texts if is_math_text(text) or control_characters(text)]
    legends = [text.get_text() for text in drawn_figures[0].legends[0].get_texts()]
    assert len(legends) == 2  # matplotlib omits labels that begin with an underscore
