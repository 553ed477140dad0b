"""The page about detection states what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from scorecam import cam
from scorecam.tasks.detect.recognition import DECODERS

PAGE = (Path(__file__).parents[2] / "docs/tasks/detect.md").read_text("utf-8")


def test_the_example_of_the_page_runs() -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(example, "detect.md", "exec"), names)
    assert {"explanation", "second", "there"} <= names.keys()


def test_every_form_of_output_and_every_variant_is_on_the_page() -> None:
    table = PAGE.split("| `decode` |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(DECODERS)
    assert [name for name in cam.VARIANTS if f"`{name}`" not in PAGE] == []
