"""Sample pages with a few pictures and known maps."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from scorecam.page import Channel, FindingCard, Grid8, Page, Picture, Shown

HOSTILE = "</script><img src=x onerror=alert(1)>.png"
MARKUP = ("<b>cat</b>", "\"'&", "<!--<script>", "&lt;dog&gt;")
VIEWS = ("official", "consensus")


def jpeg(colour: tuple[int, int, int] = (90, 120, 60), size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def one_hot(place: int, rows: int = 3, columns: int = 3, value: int = 255) -> Grid8:
    grid = np.zeros((rows, columns), np.uint8)
    grid.flat[place] = value
    return grid


def shown(name: str, probability: float | None, role: str, place: int = 0) -> Shown:
    """A class; its official map is one cell, and its consensus map is the next cell."""
    maps = {"official": one_hot(place), "consensus": one_hot(place + 1)}
    return Shown(name, probability, role, maps)


def picture(number: int, **changes: object) -> Picture:
    """Every third photo is misclassified and has a contrast; every fourth has no `deletion`."""
    wrong = number % 3 == 0
    classes = (
        shown("cat", 0.6, "predicted" if wrong else "label, predicted, target", 0),
        shown("dog" if number % 2 else "fox", 0.3, "label, target" if wrong else "", 4),
    )
    settings: dict[str, object] = {
        "id": f"id-{number}",
        "name": f"folder/photo-{number}.jpg",
        "jpeg": jpeg(),
        "classes": classes,
        "contrast": ("cat rather than dog", one_hot(8)) if wrong else None,
        "facts": {"drop": number / 10, "deletion": None if number % 4 == 0 else 1.0 - number / 100},
        "tags": ("wrong", "border") if wrong else ("right",),
        "words": ("The frame may be speaking.",) if wrong else (),
        "channels": (Channel("channel 7", -0.25, one_hot(2)),),
    }
    return Picture(**(settings | changes))  # type: ignore[arg-type]


def page(count: int, **changes: object) -> Page:
    findings = (
        FindingCard(
            "stamp", "problem", "A stamp is decisive.", ("3 of 4 maps.",), "It fails.", ("id-1",)
        ),
        FindingCard(
            "edges", "warning", "The edges are decisive.", (), "", ("id-0", "id-2", "elsewhere")
        ),
        FindingCard("far", "note", "Not here.", (), "", ("elsewhere",)),
    )
    settings: dict[str, object] = {
        "title": "A run",
        "lead": "Twelve photos.",
        "about": (("Model", "tiny"), ("Layer", "body")),
        "findings": findings,
        "pictures": tuple(map(picture, range(count))),
        "remarks": ("All of it is made up.",),
    }
    return Page(**(settings | changes))  # type: ignore[arg-type]


def hostile() -> Page:
    """Markup in every text."""
    classes = tuple(
        shown(name, 0.5, role, 0)
        for name, role in zip(MARKUP, ("label", "predicted", "target", ""), strict=True)
    )
    texts = {
        "name": HOSTILE,
        "classes": classes,
        "contrast": (f"{MARKUP[0]} rather than {MARKUP[1]}", one_hot(0)),
        "facts": {HOSTILE: 1.0, "__proto__": 2.0, "toString": None},
        "tags": (HOSTILE, "constructor"),
        "words": (HOSTILE,),
        "channels": (Channel(HOSTILE, 0.5, one_hot(0)),),
    }
    pictures = tuple(picture(number, **texts) for number in range(2))
    finding = FindingCard(HOSTILE, "note", HOSTILE, (HOSTILE,), HOSTILE, ("id-0",))
    return page(
        0,
        title=HOSTILE,
        lead=HOSTILE,
        about=((HOSTILE, HOSTILE),),
        findings=(finding,),
        pictures=pictures,
        remarks=(HOSTILE,),
    )
