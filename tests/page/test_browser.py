"""The HTML page in Chromium: by mouse, by keyboard, on a phone."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import page_samples
from page_samples import HOSTILE, MARKUP, page, picture
from scorecam.images.colours import COLOURS
from scorecam.page import Drawing, FindingCard, Page, Picture, Shown, Table, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.needs("audit", "browser")

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield launched
        launched.close()


@dataclass
class Heard:
    """What the browser reported besides the page."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Opener = Callable[..., "Tab"]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def show(browser: Browser, tmp_path: Path, heard: Heard) -> Iterator[Opener]:
    """Opens a page; fails if it reported errors or made requests."""
    file = tmp_path / "page.html"
    contexts = []

    def opened(made: Page, **settings: Any) -> Tab:
        write(made, file)
        context = browser.new_context(**({"viewport": DESKTOP} | settings))
        contexts.append(context)
        context.set_default_timeout(10_000)
        tab = context.new_page()
        tab.on("console", lambda message: heard.complaints.append(message.text))
        tab.on("pageerror", lambda error: heard.complaints.append(str(error)))
        tab.on("dialog", lambda box: (heard.complaints.append(box.message), box.dismiss()))
        tab.on("request", lambda request: heard.requests.append(request.url))
        tab.goto(file.as_uri())
        if made.pictures:
            tab.wait_for_function("() => performance.getEntriesByName('first-cards').length")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert heard.complaints == []
    assert {url for url in heard.requests if not url.startswith("data:")} == {file.as_uri()}


PIXEL = """([selector, x, y]) => {
    const canvas = document.querySelector(selector);
    // Read from a copy: Chromium remarks on canvases that are read and were not made to be.
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
    return [...context.getImageData(...at, 1, 1).data];
}"""


def pixel(tab: Tab, x: float, y: float, selector: str = "#gallery canvas") -> list[int]:
    """The colour R G B A on the first card's canvas, at a place in units of its size."""
    return tab.evaluate(PIXEL, [selector, x, y])


def bright(tab: Tab, x: float, y: float, selector: str = "#gallery canvas") -> bool:
    """Whether the map is largest there, but for the half pixel between a cell's and a pixel's
    centre."""
    return pixel(tab, x, y, selector)[3] > 245


def choose(tab: Tab, control: str, option: str) -> None:
    """Choose an option, and wait until the visible cards are redrawn."""
    tab.get_by_role("combobox", name=control, exact=True).select_option(option)
    tab.locator("#gallery li").first.scroll_into_view_if_needed()
    tab.wait_for_selector("#gallery li:first-child:not([data-stale])")


def names(tab: Tab) -> list[str]:
    return tab.locator("#gallery .name").all_inner_texts()


def numbers(tab: Tab) -> list[int]:
    return [int(name.removeprefix("photo-").removesuffix(".jpg")) for name in names(tab)]


def isolated(name: str) -> str:
    """A name as it stands inside a sentence, whose direction is not the name's."""
    return f"\u2068{name}\u2069"


def count(tab: Tab) -> str:
    return tab.locator("#count").inner_text()


def focused(tab: Tab) -> str:
    """The number of the focused card, or the focused element's id."""
    return tab.evaluate(
        "document.activeElement.closest('.card')?.dataset.index ?? document.activeElement.id"
    )


def closed_on(tab: Tab, index: int) -> None:
    """Wait until a card has the focus; the close event comes later than the close."""
    tab.wait_for_function(
        f"() => document.activeElement.closest('.card')?.dataset.index === '{index}'"
    )


# ── maps ─────────────────────────────────────────────────────────────────────────────────────

BRIGHTEST = [*COLOURS[255].tolist(), 255]
NOTHING = [0, 0, 0, 0]


def test_a_card_shows_the_map_in_the_known_colours(show: Opener) -> None:
    values = np.array([[255, 0], [128, 64]], np.uint8)
    classes = (Shown("cat", 0.5, "target", {"official": values}),)
    tab = show(page(0, pictures=(picture(1, classes=classes), picture(2))))
    assert pixel(tab, 0.02, 0.02) == BRIGHTEST
    assert pixel(tab, 0.98, 0.02) == NOTHING
    for x, value in ((0.02, 128), (0.98, 64)):
        *colour, alpha = pixel(tab, x, 0.98)
        assert alpha == value
        # A canvas keeps colours multiplied by alpha: half as opaque, half as many steps.
        np.testing.assert_allclose(colour, COLOURS[value], atol=255 / value)
    # Halfway between two cells' centres is their mean; beyond the centres their value.
    middle = pixel(tab, 0.5, 0.02)[3]
    assert abs(middle - 127.5) <= 255 / 56
    assert pixel(tab, 0.2, 0.02)[3] == 255


def test_a_page_of_finished_pictures_shows_them_and_no_controls(show: Opener) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1200, 300), (10, 200, 30)).save(file, "PNG")
    drawings = (Drawing(HOSTILE, file.getvalue(), (MARKUP[1],)), Drawing("b", file.getvalue()))
    tab = show(page(0, findings=(), drawings=drawings))
    shown = tab.locator(".drawing img")

    assert shown.evaluate_all("all => all.map(each => each.naturalWidth)") == [1200, 1200]
    assert shown.first.get_attribute("alt") == f"The heatmap of {HOSTILE}. {MARKUP[1]}"
    assert tab.locator(".tools").count() == 0
    assert tab.get_by_text("There are no pictures").count() == 0


def test_a_grid_of_one_cell_and_a_grid_of_one_row_can_be_drawn(show: Opener) -> None:
    one = {"official": np.full((1, 1), 255, np.uint8)}
    row = {"official": np.array([[0, 0, 255]], np.uint8)}
    pictures = (
        picture(1, classes=(Shown("cat", 0.5, "target", one),)),
        picture(2, classes=(Shown("cat", 0.5, "target", row),)),
    )
    tab = show(page(0, pictures=pictures))
    assert pixel(tab, 0.5, 0.5) == pixel(tab, 0.02, 0.98) == BRIGHTEST
    second = "#gallery li:nth-child(2) canvas"
    assert pixel(tab, 0.98, 0.02, second) == pixel(tab, 0.98, 0.98, second) == BRIGHTEST
    assert pixel(tab, 0.3, 0.5, second) == NOTHING


def test_choosing_a_class_repaints_the_cards(show: Opener) -> None:
    tab = show(page(4))
    # Photo 0 is wrong: predicted, it is a cat (first cell); labelled, a fox (the middle one).
    assert bright(tab, 0.5, 0.5)
    assert "fox" in tab.locator("#gallery .caption").first.inner_text()
    choose(tab, "Map of", "Prediction")
    assert pixel(tab, 0.02, 0.02) == BRIGHTEST
    assert pixel(tab, 0.5, 0.5)[3] == 0
    assert "cat 60 %" in tab.locator("#gallery .caption").first.inner_text()
    choose(tab, "Map of", "2nd highest")
    assert bright(tab, 0.5, 0.5)
    choose(tab, "Map of", "Label")
    assert "fox 30 %" in tab.locator("#gallery .caption").first.inner_text()


def test_choosing_a_view_repaints_the_cards(show: Opener) -> None:
    tab = show(page(4))
    choose(tab, "View", "consensus")
    assert bright(tab, 0.98, 0.5)
    assert pixel(tab, 0.5, 0.5)[3] < 10


def test_distant_cards_are_drawn_late_with_the_current_choice(
    show: Opener,
) -> None:
    tab = show(page(70))
    last = tab.locator("#gallery li:nth-child(50)")
    assert "drawn" not in (last.get_attribute("class") or "")
    choose(tab, "Map of", "Prediction")
    last.scroll_into_view_if_needed()
    tab.wait_for_selector("#gallery li:nth-child(50).drawn canvas")
    assert pixel(tab, 0.02, 0.02, "#gallery li:nth-child(50) canvas") == BRIGHTEST
    tab.evaluate("scrollTo(0, 0)")
    tab.wait_for_function("() => scrollY === 0")
    choose(tab, "Map of", "2nd highest")
    last.scroll_into_view_if_needed()
    tab.wait_for_selector("#gallery li:nth-child(50):not([data-stale])")
    assert bright(tab, 0.5, 0.5, "#gallery li:nth-child(50) canvas")


def test_opacity_and_the_checkbox_hide_the_map(show: Opener) -> None:
    tab = show(page(2))
    opacity = "getComputedStyle(document.querySelector('#gallery canvas')).opacity"
    assert tab.evaluate(opacity) == "0.85"
    tab.get_by_label("Opacity").fill("40")
    assert tab.evaluate(opacity) == "0.4"
    assert tab.locator("#gallery canvas").first.is_visible()
    tab.get_by_label("Show map").uncheck()
    assert not tab.locator("#gallery canvas").first.is_visible()
    assert tab.locator("#gallery img").first.is_visible()
    photo = "getComputedStyle(document.querySelector('#gallery img')).filter"
    assert tab.evaluate(photo) == "none"


def test_wrong_predictions_show_label_prediction_and_contrast_side_by_side(
    show: Opener,
) -> None:
    tab = show(page(4))
    tab.get_by_label("Label, prediction and contrast side by side").check()
    tab.wait_for_selector("#gallery li:first-child figure")
    first = tab.locator("#gallery li").first
    captions = [text.split("\n") for text in first.locator("figcaption").all_inner_texts()]
    assert [caption[0] for caption in captions] == ["label", "prediction", "contrast"]
    assert captions[2][1] == "cat rather than dog"
    for place, (x, y) in enumerate(((0.5, 0.5), (0.02, 0.02), (0.98, 0.98)), 1):
        selector = f"#gallery li:first-child figure:nth-child({place}) canvas"
        assert bright(tab, x, y, selector)
    assert tab.locator("#gallery li").nth(1).locator("figure").count() == 0


def test_a_picture_that_is_not_square_keeps_its_shape(show: Opener) -> None:
    wide = picture(1, jpeg=page_samples.jpeg(size=(112, 56)))
    tab = show(page(0, pictures=(wide, picture(2))))
    canvas = tab.locator("#gallery canvas").first
    assert canvas.evaluate("canvas => [canvas.width, canvas.height]") == [112, 56]
    assert canvas.evaluate("canvas => getComputedStyle(canvas).objectFit") == "contain"


def test_flat_maps_and_missing_maps_and_pictures_are_labelled(show: Opener) -> None:
    flat = Shown("cat", None, "target", {"official": np.zeros((2, 2), np.uint8)})
    pictures = (picture(1, classes=(flat,), jpeg=None), picture(2, classes=()))
    tab = show(page(0, pictures=(*pictures, picture(3))))
    cards = tab.locator("#gallery li")
    assert "flat map" in cards.nth(0).inner_text()
    spoken = f"{isolated('folder/photo-1.jpg')}: {isolated('cat')}"
    assert cards.nth(0).get_by_role("img", name=spoken).is_visible()
    assert "no map" in cards.nth(1).inner_text()
    choose(tab, "View", "consensus")
    assert "no map" in cards.nth(0).inner_text()
    for index in (0, 1):
        cards.nth(index).locator(".open").click()
        assert tab.locator("#dialog").is_visible()
        tab.keyboard.press("Escape")


def test_a_picture_without_the_chosen_class_says_so(show: Opener) -> None:
    classes = (page_samples.shown("cat", 0.6, "predicted, target"),)
    tab = show(page(0, pictures=(picture(0), picture(1, classes=classes), picture(2))))
    choose(tab, "Map of", "Label")
    card = tab.locator("#gallery li").nth(1)
    assert card.locator(".caption").inner_text() == "no label"
    assert pixel(tab, 0.02, 0.02, "#gallery li:nth-child(2) canvas") == NOTHING
    card.locator(".open").click()
    large = tab.locator("#detail .large")
    assert large.locator("figcaption").inner_text() == "no label"
    assert pixel(tab, 0.02, 0.02, "#detail .large canvas") == NOTHING
    assert tab.locator("[data-pick][aria-pressed='true']").count() == 0
    tab.locator("[data-pick='0 0']").click()
    assert "cat 60 %" in large.locator("figcaption").inner_text()
    assert pixel(tab, 0.02, 0.02, "#detail .large canvas") == BRIGHTEST


def test_a_card_shows_two_roles_and_the_dialog_all(show: Opener) -> None:
    only = (page_samples.shown("cat", 0.6, "target"),)
    tab = show(page(0, pictures=(picture(0), picture(1), picture(2, classes=only))))
    badges = tab.locator("#gallery .badges")
    assert [badges.nth(place).locator(".badge").all_inner_texts() for place in range(3)] == [
        ["label"],
        ["label", "predicted"],
        ["target"],
    ]
    tab.locator("#gallery .open").nth(1).click()
    roles = tab.locator(".maps tbody tr").first.locator(".badge").all_inner_texts()
    assert roles == ["label", "predicted", "target"]


# ── filters and sorting ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_clearing_the_filters_keeps_the_focus(show: Opener, viewport: dict[str, int]) -> None:
    tab = show(page(12), viewport=viewport)
    tab.get_by_role("button", name="Show 2 examples").click()
    tab.locator("#clear").click()
    assert count(tab) == "All 12 pictures"
    assert focused(tab) == ("text" if viewport is DESKTOP else "count")


def test_the_text_filter_searches_file_and_class_names(show: Opener) -> None:
    tab = show(page(12))
    assert count(tab) == "All 12 pictures"
    field_ = tab.get_by_label("File or class name")
    field_.fill("PHOTO-11")
    assert numbers(tab) == [11]
    assert count(tab) == "1 of 12 pictures"
    field_.fill(" dog ")
    assert numbers(tab) == [1, 3, 5, 7, 9, 11]
    tab.get_by_role("button", name="Clear filters").click()
    assert count(tab) == "All 12 pictures"
    assert field_.input_value() == ""


def test_the_class_filter_uses_label_and_prediction(show: Opener) -> None:
    tab = show(page(12))
    classes = tab.locator("#class")
    assert classes.locator("option").all_inner_texts() == [
        "All classes",
        *(f"{isolated(name)} ({times})" for name, times in (("cat", 12), ("dog", 2), ("fox", 2))),
    ]
    classes.select_option("dog")
    assert numbers(tab) == [3, 9]


def test_tags_are_combined(show: Opener) -> None:
    tab = show(page(12))
    wrong = tab.locator("#tags").get_by_role("button", name="wrong")
    wrong.click()
    assert numbers(tab) == [0, 3, 6, 9]
    assert wrong.get_attribute("aria-pressed") == "true"
    tab.locator("#tags").get_by_role("button", name="right").click()
    assert numbers(tab) == []
    assert tab.get_by_text("No pictures match these filters.").is_visible()
    assert count(tab) == "0 of 12 pictures"
    tab.locator("#none").get_by_role("button", name="Clear filters").click()
    assert len(numbers(tab)) == 12
    assert wrong.get_attribute("aria-pressed") == "false"


def test_a_range_excludes_undefined_values(show: Opener) -> None:
    tab = show(page(12))
    tab.get_by_label("Number", exact=True).select_option("deletion")
    assert count(tab) == "All 12 pictures"
    tab.get_by_label("Minimum", exact=True).fill("0.95")
    assert numbers(tab) == [1, 2, 3, 5]
    tab.get_by_label("Maximum", exact=True).fill("0.975")
    assert numbers(tab) == [3, 5]
    tab.get_by_label("Number", exact=True).select_option("drop")
    assert numbers(tab) == []


@pytest.mark.parametrize("order", ["Largest first", "Smallest first"])
def test_sorting_puts_undefined_values_last(show: Opener, order: str) -> None:
    tab = show(page(12))
    assert tab.get_by_label("Order").is_disabled()
    tab.get_by_label("Sort by").select_option("deletion")
    tab.get_by_label("Order").select_option(order)
    known = [1, 2, 3, 5, 6, 7, 9, 10, 11]  # deletion falls with the number
    assert numbers(tab) == [*(known if order == "Largest first" else known[::-1]), 0, 4, 8]
    facts = tab.locator("#gallery .fact").all_inner_texts()
    assert facts[-1] == "deletion undefined"
    assert facts[0] == ("deletion 0.99" if order == "Largest first" else "deletion 0.89")


def test_a_findings_examples_can_be_shown_and_left(show: Opener) -> None:
    tab = show(page(12))
    button = tab.get_by_role("button", name="Show 2 examples")
    button.click()
    assert numbers(tab) == [0, 2]
    assert button.get_attribute("aria-pressed") == "true"
    assert focused(tab) == "leave-finding"
    tab.get_by_role("button", name="Finding: edges").click()
    assert count(tab) == "All 12 pictures"
    assert button.get_attribute("aria-pressed") == "false"
    assert focused(tab) == "count"
    tab.get_by_role("button", name="Show 1 example", exact=True).click()
    assert numbers(tab) == [1]


def test_a_finding_chooses_its_class(show: Opener) -> None:
    findings = tuple(
        FindingCard(f"of {role or 'none'}", "note", "", (), "", ("id-0", "id-3"), role)
        for role in ("predicted", "label", "")
    )
    tab = show(page(12, findings=findings))
    kind, buttons = tab.locator("#kind"), tab.locator("[data-finding]")
    assert kind.input_value() == "target"
    for place, expected, drawn in ((0, "predicted", "cat"), (1, "label", "fox"), (2, "label", "")):
        buttons.nth(place).click()
        assert kind.input_value() == expected
        tab.wait_for_selector("#gallery li:first-child:not([data-stale])")
        assert drawn in tab.locator("#gallery .caption").first.inner_text()
    assert bright(tab, 0.5, 0.5)


def test_a_finding_does_not_choose_a_missing_class(show: Opener) -> None:
    classes = (page_samples.shown("cat", 0.6, "target"),)
    pictures = tuple(picture(number, classes=classes, contrast=None) for number in range(3))
    finding = FindingCard("rule", "note", "", (), "", ("id-1",), "label")
    tab = show(page(0, pictures=pictures, findings=(finding,)))
    tab.get_by_role("button", name="Show 1 example").click()
    assert tab.locator("#kind").input_value() == "target"
    assert "cat 60 %" in tab.locator("#gallery .caption").first.inner_text()


def test_filters_apply_to_later_cards(show: Opener) -> None:
    tab = show(page(200))
    tab.locator("#tags").get_by_role("button", name="right").click()
    assert count(tab) == "133 of 200 pictures"
    tab.locator("#gallery .open").first.focus()
    tab.keyboard.press("End")
    assert focused(tab) == "132"
    found = numbers(tab)
    assert found == [number for number in range(200) if number % 3]
    assert not tab.locator("#more").is_visible()


# ── keyboard ─────────────────────────────────────────────────────────────────────────────────


def test_arrows_move_between_cards_enter_opens_and_escape_returns(show: Opener) -> None:
    tab = show(page(20))
    assert tab.locator("#gallery .open[tabindex='0']").count() == 1
    tab.locator("#gallery .open").first.focus()
    tab.keyboard.press("ArrowLeft")
    assert focused(tab) == "0"
    tab.keyboard.press("ArrowRight")
    assert focused(tab) == "1"
    columns = tab.evaluate(
        "getComputedStyle(document.getElementById('gallery')).gridTemplateColumns.split(' ').length"
    )
    assert columns > 2
    tab.keyboard.press("ArrowDown")
    assert focused(tab) == str(1 + columns)
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    assert tab.locator("#dialog").is_visible()
    assert tab.locator("#detail-title").inner_text() == "folder/photo-1.jpg"
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#detail-title").inner_text() == "folder/photo-2.jpg"
    tab.keyboard.press("Escape")
    assert not tab.locator("#dialog").is_visible()
    closed_on(tab, 2)
    assert tab.locator("#gallery .open[tabindex='0']").count() == 1


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta", "Shift"])
def test_arrows_with_modifiers_are_the_browsers(show: Opener, modifier: str) -> None:
    tab = show(page(6))
    tab.evaluate(  # Alt+→ would go forward
        "addEventListener('keydown', (event) => event.key[0] === 'A' && event.preventDefault())"
    )
    tab.locator("#gallery .open").first.click()
    tab.keyboard.press(f"{modifier}+ArrowRight")
    assert tab.locator("#detail-title").inner_text() == "folder/photo-0.jpg"
    tab.keyboard.press("Escape")
    tab.keyboard.press(f"{modifier}+ArrowRight")
    assert focused(tab) == "0"


def test_the_dialog_keeps_the_focus_from_picture_to_picture(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.click()
    title, pick = tab.locator("#detail-title"), "document.activeElement.dataset.pick"
    assert focused(tab) == "detail"
    tab.locator("[data-pick='1 1']").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert title.inner_text() == "folder/photo-2.jpg"
    assert tab.evaluate(pick) == "1 1"
    # At an end the button is marked as disabled and keeps the focus.
    following = tab.get_by_role("button", name="Next picture")
    following.focus()
    for _ in range(8):
        tab.keyboard.press("Enter")
    assert title.inner_text() == "folder/photo-5.jpg"
    assert focused(tab) == "next"
    assert following.get_attribute("aria-disabled") == "true"
    tab.keyboard.press("ArrowLeft")
    assert title.inner_text() == "folder/photo-4.jpg"
    assert following.get_attribute("aria-disabled") == "false"


def test_focus_survives_a_missing_element_in_the_next_picture(show: Opener) -> None:
    tab = show(page(0, pictures=(picture(0), picture(1, classes=()), picture(2))))
    tab.locator("#gallery .open").first.click()
    tab.locator("[data-pick='1 1']").focus()
    tab.keyboard.press("ArrowRight")
    assert focused(tab) == "detail"
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#detail-title").inner_text() == "folder/photo-2.jpg"


def test_the_dialog_announces_which_picture_it_shows(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.click()
    place = tab.get_by_role("dialog").get_by_role("status")
    assert place.text_content() == "1 of 6: folder/photo-0.jpg"
    tab.get_by_role("button", name="Next picture").click()
    assert place.text_content() == "2 of 6: folder/photo-1.jpg"


# ── back and forward ─────────────────────────────────────────────────────────────────────────


def entries(tab: Tab) -> int:
    """The number of history entries, including the one that Back has left."""
    return tab.evaluate("history.length")


def settled(tab: Tab, picture: str = "undefined") -> None:
    """Wait until the history is at a picture or at none."""
    tab.wait_for_function(f"() => history.state?.picture === {picture}")


def test_back_closes_the_opened_picture_and_forward_opens_it(show: Opener) -> None:
    tab = show(page(6))
    address, dialog = tab.url, tab.locator("#dialog")
    tab.locator("#gallery .open").nth(2).click()
    tab.keyboard.press("ArrowRight")
    tab.go_back()
    assert tab.url == address
    assert not dialog.is_visible()
    closed_on(tab, 3)
    tab.go_forward()
    assert dialog.is_visible()
    assert tab.locator("#detail-title").inner_text() == "folder/photo-2.jpg"
    tab.go_back()
    assert not dialog.is_visible()


@pytest.mark.parametrize("how", ["Escape", "Close", "outside"])
def test_closing_leaves_no_history_entry(show: Opener, how: str) -> None:
    tab = show(page(6))
    for index in (2, 4):
        tab.locator("#gallery .open").nth(index).click()
        assert tab.evaluate("history.state.picture") == index
        if how == "Escape":
            tab.keyboard.press("Escape")
        elif how == "Close":
            tab.get_by_role("button", name="Close").click()
        else:
            tab.mouse.click(3, 3)
        assert not tab.locator("#dialog").is_visible()
        settled(tab)
        assert focused(tab) == str(index)
    assert entries(tab) == 3  # the empty tab, the page, and the picture that Forward would open
    tab.go_back()
    assert tab.url == "about:blank"


def test_a_picture_opened_right_after_closing_stays_open(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.click()
    tab.evaluate(
        """() => {
            document.getElementById("close").click();
            document.querySelectorAll("#gallery .open")[3].click();
        }"""
    )
    settled(tab, "3")
    assert tab.locator("#detail-title").inner_text() == "folder/photo-3.jpg"
    tab.go_back()
    assert not tab.locator("#dialog").is_visible()


def test_reloading_reopens_the_picture(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").nth(2).click()
    tab.reload()
    tab.wait_for_function("() => performance.getEntriesByName('first-cards').length")
    assert tab.locator("#detail-title").inner_text() == "folder/photo-2.jpg"
    tab.keyboard.press("Escape")
    settled(tab)
    assert not tab.locator("#dialog").is_visible()


def test_closing_scrolls_to_the_current_picture(show: Opener) -> None:
    tab = show(page(120), reduced_motion="reduce")
    tab.locator("#gallery .open").first.click()
    for _ in range(70):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Escape")
    settled(tab)
    card = tab.locator("#gallery li").nth(70)
    assert focused(tab) == "70"
    top = card.evaluate("card => card.getBoundingClientRect().top")
    assert 0 <= top < DESKTOP["height"]
    assert tab.evaluate("history.scrollRestoration") == "auto"


def test_the_focus_is_visible_and_stays_in_the_dialog(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.focus()
    tab.keyboard.press("ArrowRight")
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"
    tab.keyboard.press("Enter")
    inside = set()
    for _ in range(25):
        tab.keyboard.press("Tab")
        inside.add(
            tab.evaluate(
                "document.activeElement === document.body"
                " || document.getElementById('dialog').contains(document.activeElement)"
            )
        )
    assert inside == {True}


def test_every_control_has_a_name(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.click()
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input")].filter((control) => {
            const labels = [...(control.labels ?? [])].map((label) => label.textContent).join("");
            const alt = [...control.querySelectorAll("img")].map((image) => image.alt).join("");
            const name = labels + (control.getAttribute("aria-label") ?? "");
            return !(name + alt + control.textContent).trim() && !control.hidden;
        }).map((control) => control.outerHTML)"""
    )
    assert nameless == []


def test_alt_texts_and_the_announced_count(
    show: Opener,
) -> None:
    tab = show(page(6))
    photo = tab.locator("#gallery img").nth(1)
    spoken = f"{isolated('folder/photo-1.jpg')}: {isolated('cat')} 60 %"
    assert photo.get_attribute("alt") == spoken
    assert tab.locator("#count").get_attribute("aria-live") == "polite"
    assert tab.evaluate("document.documentElement.lang") == "en"


# ── one picture in full ──────────────────────────────────────────────────────────────────────


def test_the_dialog_shows_everything_about_a_picture(show: Opener) -> None:
    tab = show(page(6))
    tab.locator("#gallery .open").first.click()
    text = tab.locator("#detail").inner_text()
    for known in ("The frame may be speaking.", "undefined", "channel 7", "-25.0 %", "wrong"):
        assert known in text
    assert tab.locator(".maps thead th").all_inner_texts() == ["official", "consensus"]
    assert tab.locator(".maps tbody tr").count() == 2
    assert "cat rather than dog" in text
    # The dialog opens with the card's class and map; a click shows another map.
    large = "#detail .large canvas"
    assert bright(tab, 0.5, 0.5, large)
    button = tab.get_by_role("button", name=f"Show {isolated('cat')} 60 %, consensus")
    button.click()
    assert bright(tab, 0.5, 0.02, large)
    assert button.get_attribute("aria-pressed") == "true"
    assert tab.locator("[data-pick][aria-pressed='true']").count() == 1
    assert "cat 60 %" in tab.locator("#detail .large figcaption").inner_text()
    tab.get_by_role("button", name="Next picture").click()
    assert tab.locator("#detail-title").inner_text() == "folder/photo-1.jpg"
    tab.get_by_role("button", name="Close").click()
    assert not tab.locator("#dialog").is_visible()


def test_a_page_with_one_picture_shows_it_in_full(show: Opener) -> None:
    tab = show(page(1))
    assert tab.locator("#alone .detail").is_visible()
    assert bright(tab, 0.5, 0.5, "#alone .large canvas")
    tab.get_by_role("button", name=f"Show {isolated('cat')} 60 %, official").click()
    assert pixel(tab, 0.02, 0.02, "#alone .large canvas") == BRIGHTEST
    assert not tab.locator("#gallery").is_visible()
    assert not tab.locator("[data-finding]").first.is_visible()


def test_a_page_without_pictures_shows_the_rest(show: Opener) -> None:
    tab = show(page(0))
    assert tab.get_by_text("There are no pictures on this page.").is_visible()
    assert tab.get_by_text("A stamp is decisive.").is_visible()


def test_a_page_of_bare_pictures_shows_no_empty_controls(show: Opener) -> None:
    bare = {"classes": (), "contrast": None, "facts": {}, "tags": (), "words": (), "channels": ()}
    tab = show(page(0, pictures=tuple(picture(number, **bare) for number in range(2))))
    for control in ("#kind", "#view", "#compare", "#sort", "#range", "#tags"):
        assert not tab.locator(control).is_visible()
    tab.locator("#gallery .open").first.click()
    assert tab.locator("#detail .part").count() == 0


# ── hostile texts ────────────────────────────────────────────────────────────────────────────


def test_markup_in_names_stays_text_everywhere(show: Opener) -> None:
    tab = show(page_samples.hostile())
    tab.locator("#sort").select_option(HOSTILE)
    tab.get_by_role("button", name="Show 1 example").click()
    assert count(tab) == "1 of 2 pictures"
    tab.locator("#gallery .open").first.click()
    assert tab.locator("#detail-title").inner_text() == HOSTILE
    detail = tab.locator("#detail").inner_text()
    assert all(name in detail for name in MARKUP)
    assert tab.evaluate("document.querySelectorAll('script').length") == 2
    photos = tab.evaluate("[...document.images].map((image) => image.src.slice(0, 11))")
    assert set(photos) == {"data:image/"}
    assert (
        tab.evaluate("[...document.querySelectorAll('b')].some((b) => b.innerText === 'cat')")
        is False
    )


def test_a_smuggled_script_does_not_run(show: Opener, heard: Heard) -> None:
    tab = show(page(2))
    tab.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.smuggled = true";
            document.body.append(script);
        }"""
    )
    assert tab.evaluate("window.smuggled") is None
    assert len(heard.complaints) == 1
    assert "Content Security Policy" in heard.complaints.pop()


# ── screens and preferences ──────────────────────────────────────────────────────────────────

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


RIGHT_TO_LEFT = "قطة مصرية"


def test_right_to_left_names_keep_the_percentage_last(show: Opener) -> None:
    classes = (
        page_samples.shown(RIGHT_TO_LEFT, 0.3, "label, target"),
        page_samples.shown("cat", 0.6, "predicted", 4),
    )
    pictures = tuple(picture(n, name=f"{n}-{RIGHT_TO_LEFT}", classes=classes) for n in range(3))
    tab = show(page(0, pictures=pictures))
    ends = """([caption, name]) => {
        const range = document.createRange();
        range.selectNode(caption.lastChild);
        const [percent, word] = [range.getBoundingClientRect(), name.getBoundingClientRect()];
        return [percent.left - word.right, percent.width, word.width];
    }"""
    tab.get_by_label("Label, prediction and contrast side by side").check()
    tab.wait_for_selector("#gallery li:first-child figure")
    tab.locator("#gallery .open").nth(1).click()
    for caption in ("#gallery .caption b", "#gallery figcaption b", "#detail .large figcaption b"):
        line = tab.locator(caption).first
        gap, *widths = tab.evaluate(
            ends, [line.element_handle(), line.locator("bdi").element_handle()]
        )
        assert min(widths) > 0
        assert -1 < gap < 8
    assert tab.locator(".maps tbody th bdi").first.inner_text() == RIGHT_TO_LEFT
    spoken = f"Show {isolated(RIGHT_TO_LEFT)} 30.0 %, official"
    assert tab.locator("[data-pick]").first.get_attribute("aria-label") == spoken.replace(".0", "")
    option = tab.locator("#class option").last.inner_text()
    assert option == f"{isolated(RIGHT_TO_LEFT)} (3)"


@pytest.mark.parametrize("width", [320, 390])
def test_long_names_of_views_facts_and_classes_fit_a_phone(show: Opener, width: int) -> None:
    long = "scorecam:variant=literal,something=very-long-and-longer-still"
    maps = {long: page_samples.one_hot(0), "official": page_samples.one_hot(4)}
    pictures = tuple(
        picture(number, classes=(Shown(long, 0.5, "label", maps),), facts={long: 0.5})
        for number in range(3)
    )
    tab = show(page(0, pictures=pictures), viewport=PHONE | {"width": width})
    assert tab.evaluate(OVERFLOW) == 0
    tab.locator("#filters summary").click()
    tab.locator("#sort").select_option(long)
    assert tab.evaluate(OVERFLOW) == 0
    beyond = """(width) => [...document.querySelectorAll("select")].filter(
        (select) => select.getBoundingClientRect().right > width).length"""
    assert tab.evaluate(beyond, width) == 0


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_never_scrolls_sideways(show: Opener, width: int) -> None:
    long = "a-very-long-name-without-any-space-" * 4
    classes = tuple(page_samples.shown(f"{long}{place}", 0.2, "label, target") for place in (0, 1))
    pictures = (picture(0, name=long, tags=(long,), classes=classes), *map(picture, range(1, 9)))
    made = page(0, title=long, about=((long, long),), pictures=pictures)
    tab = show(made, viewport=PHONE | {"width": width})
    assert tab.evaluate(OVERFLOW) == 0
    tab.locator("#filters summary").click()
    assert tab.locator("#text").is_visible()
    assert tab.evaluate(OVERFLOW) == 0
    tab.get_by_label("Label, prediction and contrast side by side").check()
    assert tab.evaluate(OVERFLOW) == 0
    tab.locator("#gallery .open").first.click()
    detail = tab.locator("#detail")
    assert detail.evaluate("box => box.scrollWidth - box.clientWidth") == 0
    assert tab.evaluate(OVERFLOW) == 0


def test_filters_start_folded_on_a_phone_only(show: Opener) -> None:
    assert not show(page(4), viewport=PHONE).locator("#text").is_visible()
    assert show(page(4)).locator("#text").is_visible()


def test_dark_mode_is_dark(show: Opener) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = show(page(2), color_scheme="light").evaluate(ground)
    dark = show(page(2), color_scheme="dark").evaluate(ground)
    assert light == "rgb(246, 246, 244)"
    assert dark == "rgb(19, 19, 24)"


CONTRASTS = """() => {
    const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const light = (rgb) => {
        const [r, g, b] = rgb.map((part) => channel(part / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
            if (a === 1) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.querySelectorAll("p, span, b, h1, h2, h3, dt, dd, li, button")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest(":disabled")) continue;
        const [one, two] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 80)}`);
    }
    return low;
}"""


BOUNDARIES = CONTRASTS.replace(
    CONTRASTS[CONTRASTS.index("const low") :],
    """const ratios = [];
    for (const field of document.querySelectorAll("select, [type=search], [type=number]")) {
        const edge = light(parse(getComputedStyle(field).borderTopColor));
        for (const next of [field, field.parentElement]) {
            const [one, two] = [edge, light(ground(next))];
            ratios.push((Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05));
        }
    }
    return ratios;
}""",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_field_borders_have_enough_contrast(show: Opener, scheme: str) -> None:
    ratios = show(page(6), color_scheme=scheme).evaluate(BOUNDARIES)
    assert len(ratios) == 2 * 9
    assert min(ratios) >= 3  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(show: Opener, scheme: str) -> None:
    tab = show(page(6), color_scheme=scheme)
    tab.locator("#tags").get_by_role("button", name="wrong").click()
    assert tab.evaluate(CONTRASTS) == []
    tab.locator("#gallery .open").first.click()
    assert tab.evaluate(CONTRASTS) == []


def test_reduced_motion_is_respected(show: Opener) -> None:
    moving = """[
        getComputedStyle(document.documentElement).scrollBehavior,
        getComputedStyle(document.querySelector(".card")).transitionDuration,
    ]"""
    calm = show(page(2), reduced_motion="reduce").evaluate(moving)
    usual = show(page(2), reduced_motion="no-preference").evaluate(moving)
    assert calm == ["auto", "0s"]
    assert usual == ["smooth", "0.15s"]


# ── the sides of a comparison ────────────────────────────────────────────────────────────────


def compared(number: int, **changes: object) -> Picture:
    sides = {"official": "cat (60%)", "consensus": f"{MARKUP[0]} (40%)"}
    return picture(number, sides=sides, contrast=None, **changes)


def test_the_sides_of_a_comparison_are_shown_next_to_each_other(show: Opener) -> None:
    from playwright.sync_api import expect

    tab = show(page(0, pictures=(compared(1), compared(2))))
    first = tab.locator("#gallery .card").first
    captions = first.locator("figcaption").all_inner_texts()

    assert len(captions) == 2
    assert captions[0].split("\n") == ["official", "cat (60%)"]
    assert captions[1].split("\n")[-1] == f"{MARKUP[0]} (40%)"
    tab.get_by_label("All sides next to each other").uncheck()
    expect(first.locator(".frame")).to_have_count(1)
    first.locator(".open").click()
    assert tab.locator("#detail .sides figure").count() == 2
    assert tab.get_by_role("heading", name="Side by side").count() == 1


def test_a_side_that_explains_another_class_shows_its_own_map(show: Opener) -> None:
    one, other = np.full((1, 1), 255, np.uint8), np.full((1, 1), 128, np.uint8)
    classes = (
        Shown("cat", 0.6, "target", {"official": one}),
        Shown("dog", 0.4, "target", {"consensus": other}),
    )
    tab = show(page(0, pictures=(compared(1, classes=classes), compared(2))))
    captions = tab.locator("#gallery .card").first.locator("figcaption").all_inner_texts()

    assert "no map" not in " ".join(captions)
    assert captions[1].split("\n")[-1].endswith("map of dog")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_tables_are_plain_text_and_stay_within_the_page(
    show: Opener, viewport: dict[str, int]
) -> None:
    rows = tuple((HOSTILE, MARKUP[0], "0.98 [0.97, 0.99]") for _ in range(80))
    table = Table("By class", MARKUP[3], ("class", "photos", "similarity"), rows)
    tab = show(page(0, pictures=(compared(1), compared(2)), tables=(table,)), viewport=viewport)

    assert tab.locator(".numbers tbody tr").count() == 80
    assert tab.locator(".numbers td").first.inner_text() == MARKUP[0]
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert tab.evaluate(CONTRASTS) == []
