"""The HTML page as text: content, security policy and errors."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import page_samples
from page_samples import HOSTILE, MARKUP, jpeg, one_hot, page, picture
from scorecam import MissingExtra, OutputError, PhotoError, SettingError
from scorecam.images.colours import COLOURS
from scorecam.page import (
    Channel,
    FindingCard,
    Page,
    Picture,
    Shown,
    decodable,
    encoding,
    html,
    write,
)
from scorecam.page.encoding import has_too_many_cells

needs_jinja = pytest.mark.needs("audit")


class Elements(HTMLParser):
    """Every element's attributes, and the text inside each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in {"style", "script"}:
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in {"style", "script", "application/json"}:
            self.inside[self._open] = self.inside.get(self._open, "") + data


def content(made: Page) -> dict[str, Any]:
    """The data of the page's script."""
    return json.loads(Elements(html(made)).inside["application/json"])


def cells(text: str) -> np.ndarray:
    shape, _, rest = text.partition(",")
    rows, columns = map(int, shape.split("x"))
    return np.frombuffer(base64.b64decode(rest), np.uint8).reshape(rows, columns)


# ── content ──────────────────────────────────────────────────────────────────────────────────


@needs_jinja
def test_maps_and_numbers_survive_encoding() -> None:
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3)
    classes = (
        Shown("a", 0.123456789, "label, target", {"one": grid}),
        Shown("b", None, "", {"two": grid.T}),
    )
    facts = {"half": 0.5, "lost": None, "nan": float("nan"), "endless": float("inf")}
    made = page(0, pictures=(picture(1, classes=classes, facts=facts), picture(0)))
    found = content(made)
    assert found["views"] == ["one", "two", *page_samples.VIEWS]
    first, second = found["pictures"]
    maps = first["classes"][0]["maps"]
    np.testing.assert_array_equal(cells(maps[0]), grid)
    assert maps[1:] == [None, None, None]
    np.testing.assert_array_equal(cells(first["classes"][1]["maps"][1]), grid.T)
    assert first["classes"][0]["probability"] == 0.123457
    assert first["classes"][0]["roles"] == ["label", "target"]
    assert first["classes"][1]["roles"] == []
    assert first["facts"] == {"half": 0.5, "lost": None, "nan": None, "endless": None}
    assert first["contrast"] is None
    assert second["contrast"]["name"] == "cat rather than dog"
    np.testing.assert_array_equal(cells(second["contrast"]["map"]), one_hot(8))
    np.testing.assert_array_equal(cells(second["channels"][0]["map"]), one_hot(2))
    assert second["channels"][0]["share"] == -0.25


@needs_jinja
def test_a_map_that_is_not_contiguous_is_read_by_rows() -> None:
    grid = np.arange(24, dtype=np.uint8).reshape(4, 6)[::2, ::3]
    made = page(0, pictures=(picture(1, classes=(Shown("a", 1.0, "", {"one": grid}),)),))
    (text,) = content(made)["pictures"][0]["classes"][0]["maps"]
    np.testing.assert_array_equal(cells(text), [[0, 3], [12, 15]])


@needs_jinja
def test_findings_refer_to_pictures_on_the_page() -> None:
    found = content(page(3))["findings"]
    assert [each["places"] for each in found] == [[1], [0, 2], []]
    text = html(page(3))
    assert "Show 1 example<" in text
    assert "Show 2 examples<" in text
    assert "Its examples are not on this page." in text


@needs_jinja
def test_a_picture_named_twice_by_a_finding_is_counted_once() -> None:
    twice = FindingCard("rule", "note", "Twice.", (), "", ("id-1", "id-1"))
    made = page(2, findings=(twice,))
    assert content(made)["findings"][0]["places"] == [1]
    assert "Show 1 example<" in html(made)


@needs_jinja
def test_a_level_is_a_word_and_a_sign() -> None:
    text = html(page(2))
    for sign, word in (("✖", "Problem"), ("▲", "Warning"), ("●", "Note")):
        assert f'<span class="sign" aria-hidden="true">{sign}</span> {word}' in text


@needs_jinja
def test_the_colours_are_those_of_scorecams_own_pictures() -> None:
    script = Elements(html(page(1))).inside["script"]
    table = re.search(r"bytesOfHex\(([^)]*)\)", script)
    assert table is not None
    found = bytes.fromhex("".join(re.findall(r'"([0-9a-f]+)"', table[1])))
    assert found == COLOURS.tobytes()


# ── pictures ─────────────────────────────────────────────────────────────────────────────────


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


@needs_jinja
@pytest.mark.parametrize(("count", "side"), [(1, 512), (2, 112)])
def test_thumbnails_fit_the_page(count: int, side: int) -> None:
    large = jpeg(size=(1600, 800))
    made = page(0, pictures=tuple(picture(number, jpeg=large) for number in range(count)))
    first = content(made)["pictures"][0]
    assert decoded(first["jpeg"]).size == (side, side // 2) == tuple(first["size"])
    assert decoded(first["jpeg"]).format == "JPEG"


@needs_jinja
def test_only_small_jpegs_are_kept_unchanged() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (20, 10), (255, 0, 0, 128)).save(file, "PNG")
    kept = jpeg(size=(112, 40))
    made = page(0, pictures=(picture(0, jpeg=kept), picture(1, jpeg=file.getvalue())))
    first, second = content(made)["pictures"]
    assert base64.b64decode(first["jpeg"]) == kept
    assert decoded(second["jpeg"]).format == "JPEG"
    assert second["size"] == [20, 10]


@needs_jinja
def test_a_large_thumbnail_is_compressed_again() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100)
    made = page(0, pictures=(picture(0, jpeg=file.getvalue()), picture(1)))
    found = base64.b64decode(content(made)["pictures"][0]["jpeg"])
    assert len(found) < len(file.getvalue()) / 2


@needs_jinja
def test_a_missing_picture_is_not_an_error() -> None:
    first = content(page(0, pictures=(picture(0, jpeg=None),)))["pictures"][0]
    assert first["jpeg"] is None
    assert first["size"] is None


@needs_jinja
@pytest.mark.parametrize("bad", [b"", b"not a picture", jpeg()[:200], jpeg(size=(900, 900))[:3000]])
def test_a_picture_that_cannot_be_decoded_is_named(bad: bytes) -> None:
    with pytest.raises(PhotoError, match=r"folder/photo-3\.jpg cannot be decoded"):
        html(page(0, pictures=(picture(3, jpeg=bad),)))


@pytest.mark.parametrize("bad", [b"", b"not a picture", jpeg()[:200], b"BM" + bytes(60)])
def test_bytes_that_are_not_a_picture_are_recognised(bad: bytes) -> None:
    good = jpeg()
    assert decodable(good) is good
    assert decodable(None) is None
    assert decodable(bad) is None


def speckled(count: int, side: int) -> tuple[Picture, ...]:
    """The largest possible picture: five classes in four views, of noise."""
    draw = np.random.default_rng(0)

    def grids() -> dict[str, Any]:
        return {view: draw.integers(0, 256, (side, side), dtype=np.uint8) for view in "abcd"}

    classes = tuple(Shown(f"class {place}", 0.2, "", grids()) for place in range(5))
    return tuple(picture(number, classes=classes, channels=()) for number in range(count))


@needs_jinja
@pytest.mark.parametrize("side", [17, 20, 28, 56])
def test_two_thousand_pictures_of_any_grid_stay_under_thirty_megabytes(side: int) -> None:
    made = page(0, pictures=speckled(2_000, side))
    assert has_too_many_cells(made) == (side > 17)  # 17 x 17 are just few enough
    text = html(made)
    assert ("maps of more than 16 × 16 cells are averaged" in text) == has_too_many_cells(made)
    thumbnails = 2_000 * 5_000  # those of the test weigh next to nothing
    assert len(text) + thumbnails < 30e6


@needs_jinja
def test_few_pictures_keep_all_their_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = page(0, pictures=speckled(3, 28))
    text = html(fine)
    assert "averaged" not in text
    assert content(fine)["pictures"][0]["classes"][0]["maps"][0].startswith("28x28,")
    monkeypatch.setattr(encoding, "MAX_CELLS", 100)
    assert content(fine)["pictures"][0]["classes"][0]["maps"][0].startswith("16x16,")
    small = page(0, pictures=speckled(3, 14))
    assert "averaged" not in html(small)
    assert content(small)["pictures"][0]["classes"][0]["maps"][0].startswith("14x14,")


@needs_jinja
def test_averaged_maps_keep_area_means_and_the_maximum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoding, "MAX_CELLS", 100)
    draw = np.random.default_rng(0)
    blocks = draw.integers(0, 200, (16, 16)).astype(np.uint8)
    blocks[3, 5] = 250
    wide = np.zeros((16, 24), np.uint8)
    wide[:, 0] = 240  # covers two thirds of a cell of 1.5
    flat = np.zeros((32, 32), np.uint8)
    maps = {"blocks": np.kron(blocks, np.ones((2, 2), np.uint8)), "wide": wide, "flat": flat}
    classes = (Shown("cat", 0.5, "", maps),)
    made = page(0, pictures=(picture(1, classes=classes, channels=()), picture(2)))
    found = list(map(cells, content(made)["pictures"][0]["classes"][0]["maps"][:3]))
    np.testing.assert_array_equal(found[0], blocks)
    assert found[1].shape == (16, 16)
    np.testing.assert_array_equal(found[1][:, :2], [[240, 0]] * 16)
    np.testing.assert_array_equal(found[2], np.zeros((16, 16)))


@needs_jinja
def test_an_image_at_seven_by_seven_costs_two_kilobytes_besides_its_jpeg() -> None:
    draw = np.random.default_rng(0)

    def grids() -> dict[str, Any]:
        return {view: draw.integers(0, 256, (7, 7), dtype=np.uint8) for view in "abcd"}

    def pictures(count: int) -> tuple[Any, ...]:
        classes = tuple(Shown(f"class {place}", 0.2, "", grids()) for place in range(5))
        return tuple(
            picture(number, jpeg=None, classes=classes, channels=()) for number in range(count)
        )

    few, many = (len(html(page(0, pictures=pictures(count)))) for count in (10, 110))
    assert 1000 < (many - few) / 100 < 2300


# ── security policy ──────────────────────────────────────────────────────────────────────────


@needs_jinja
def test_only_its_own_script_and_style_may_run() -> None:
    elements = Elements(html(page(2)))
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in elements.found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(elements.inside[name].encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert len(rules) == 6


@needs_jinja
def test_the_markup_has_no_handlers_styles_or_addresses() -> None:
    for tag, attributes in Elements(html(page(3))).found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert tag not in {"link", "iframe", "base", "object", "embed", "form"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_the_script_never_parses_text_as_markup() -> None:
    files = [file for file in resources.files("scorecam.page").iterdir() if file.name[-3:] == ".js"]
    assert len(files) == 4
    for file in files:
        text = file.read_text("utf-8")
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ):
            assert forbidden not in text
        assert not re.search(r"</script|<!--|https?://|\bfetch\(|XMLHttpRequest", text)


def test_the_style_loads_nothing() -> None:
    text = resources.files("scorecam.page").joinpath("page.css").read_text("utf-8")
    assert not re.search(r"url\(|@import|</style", text)


@needs_jinja
def test_hostile_texts_stay_texts() -> None:
    text = html(page_samples.hostile())
    plain, elements = Elements(html(page(2))), Elements(text)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 2
    assert set(tags) <= {tag for tag, _ in plain.found}
    assert elements.inside["script"] == plain.inside["script"]
    raw = elements.inside["application/json"]
    assert not set("<>&") & set(raw)
    first = json.loads(raw)["pictures"][0]
    assert first["name"] == HOSTILE
    assert tuple(each["name"] for each in first["classes"]) == MARKUP


@needs_jinja
def test_line_separators_and_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    odd = "a\u2028b\u2029c\udcff.jpg"
    made = page(0, title=odd, pictures=(picture(1, name=odd),))
    raw = Elements(html(made)).inside["application/json"]
    assert raw.isascii()
    assert json.loads(raw)["pictures"][0]["name"] == odd
    write(made, tmp_path / "page.html")
    assert "c?.jpg</h1>" in (tmp_path / "page.html").read_text("utf-8")


# ── numbers of pictures ──────────────────────────────────────────────────────────────────────


@needs_jinja
def test_a_page_without_pictures_says_so() -> None:
    text = html(page(0))
    assert "There are no pictures on this page." in text
    assert 'id="filters"' not in text


@needs_jinja
def test_a_page_with_one_picture_starts_with_it_without_filters() -> None:
    text = html(page(1))
    assert 'id="filters"' not in text
    assert text.index('id="pictures"') < text.index("Details")
    assert html(page(2)).index("Overview") < html(page(2)).index('id="pictures"')


@needs_jinja
def test_it_is_a_whole_document_in_english() -> None:
    text = html(Page("Title", ""))
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert text.rstrip().endswith("</html>")
    assert "<title>Title</title>" in text


# ── writing and errors ───────────────────────────────────────────────────────────────────────


@needs_jinja
def test_the_file_holds_the_document(tmp_path: Path) -> None:
    write(page(2), tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes().decode() == html(page(2))


@needs_jinja
def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="Could not write"):
        write(page(1), tmp_path / "file" / "page.html")
    old = tmp_path / "page.html"
    old.write_text("mine")
    with pytest.raises(PhotoError):
        write(page(0, pictures=(picture(0, jpeg=b"bad"),)), old)
    assert old.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "page.html"]


def test_without_jinja2_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'scorecam\[audit\]'"):
        write(page(1), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_data_of_a_page_needs_no_jinja2() -> None:
    code = "import scorecam.page, sys; print('jinja2' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    "grid",
    [
        np.zeros((3, 3)),
        np.zeros(9, np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((2, 2, 2), np.uint8),
        [[0, 255]],
    ],
)
def test_a_map_is_two_axes_of_bytes(grid: Any) -> None:
    with pytest.raises(SettingError, match="The map 'odd'"):
        Shown("cat", 0.5, "", {"odd": grid})
    with pytest.raises(SettingError, match="The map 'odd'"):
        Channel("odd", 0.5, grid)
    with pytest.raises(SettingError, match="The map 'odd'"):
        picture(0, contrast=("odd", grid))


def test_six_classes_are_too_many() -> None:
    classes = tuple(Shown(str(place), None, "", {}) for place in range(6))
    with pytest.raises(SettingError, match="has 6 classes; a page shows at most 5"):
        picture(0, classes=classes)


def test_a_role_is_one_of_three_or_none() -> None:
    assert FindingCard("rule", "note", "", (), "", ()).role == ""
    assert FindingCard("rule", "note", "", (), "", (), "label").role == "label"
    with pytest.raises(SettingError, match=r"'explained'.*label, predicted, target"):
        FindingCard("rule", "note", "", (), "", (), "explained")


def test_a_level_is_one_of_three() -> None:
    with pytest.raises(SettingError, match=r"'severe'.*problem, warning, note"):
        FindingCard("rule", "severe", "", (), "", ())


def test_two_pictures_of_one_id_are_refused() -> None:
    with pytest.raises(SettingError, match="'id-1'"):
        page(0, pictures=(picture(1), picture(1)))
