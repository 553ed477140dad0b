"""The pages that benchmarks write equal the committed results."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.deployed import deployed_page, map_in_the_graph_page
from benchmarks.gpu import gpu_page
from benchmarks.paper import centred_page, claims_page, discrimination_page, reproduction_page
from benchmarks.speed import growth_page, speed_page
from benchmarks.tasks import detection_results_page
from benchmarks.training import training_page
from benchmarks.transformers import transformers_page

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "script",
    [
        centred_page,
        deployed_page,
        detection_results_page,
        discrimination_page,
        gpu_page,
        growth_page,
        map_in_the_graph_page,
        speed_page,
        training_page,
        transformers_page,
    ],
)
def test_a_page_equals_the_one_written_from_the_results(script: ModuleType) -> None:
    name = script.__name__.rpartition(".")[2].removesuffix("_page").replace("_", "-")

    assert script.page() == (ROOT / f"docs/{name}.md").read_text("utf-8")


def test_claims_with_results_in_the_repository_are_on_their_page() -> None:
    page = (ROOT / "docs/claims.md").read_text("utf-8")
    claims = claims_page.figure_claims()

    assert page.startswith(claims_page.HEAD)
    assert len(claims) == 4
    for claim in claims:
        assert f"| {claim.text} | `{claim.command}` | {claim.numbers} | {claim.verdict} |" in page


def test_the_reproduction_page_has_the_text_of_its_script() -> None:
    page = (ROOT / "docs/reproduction.md").read_text("utf-8")

    assert page.startswith(reproduction_page.INTRODUCTION)
    for text in (reproduction_page.HELD_OUT, reproduction_page.NEW_CUT_OUTS):
        assert text in page


def test_the_readme_lists_every_script_and_every_result() -> None:
    readme = (ROOT / "benchmarks/README.md").read_text("utf-8")
    folder = ROOT / "benchmarks"
    scripts = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in folder.rglob("*.py")
        if "__main__" in file.read_text("utf-8") and file.parent.name != "equality"
    ]
    results = [str(file.relative_to(folder / "results")) for file in folder.rglob("results/*/*")]

    assert len(scripts) > 15
    assert [name for name in scripts if f"`{name}" not in readme] == []
    assert len(results) > 10
    for result in results:
        listed = re.sub(r"(speed-|fidelity|gpu/).*[.]", r"\1*.", result)
        assert f"`{listed}`" in readme, result


def test_every_benchmark_that_a_page_names_exists() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks/README.md"]
    for page in [*pages, ROOT / "Makefile"]:
        text = page.read_text("utf-8")
        for module in re.findall(r"-m (benchmarks[.\w]+)", text):
            assert (ROOT / (module.replace(".", "/") + ".py")).exists(), f"{page.name}: {module}"
        for path in re.findall(r"\bbenchmarks/[\w/.-]+\w", text):
            if "*" not in path and page.name != "CHANGELOG.md":
                assert (ROOT / path).exists(), f"{page.name}: {path}"
