"""Cases for methods, from a model and an image or from an explanation."""

from __future__ import annotations

from scorecam.bank.bank import ScoreBank
from scorecam.cam import Head
from scorecam.errors import PhotoError
from scorecam.explanation.explained_model import explained_model
from scorecam.explanation.explanation import Explanation
from scorecam.methods.method import Case
from scorecam.model.model import Model
from scorecam.model.scorer import Scorer
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from scorecam.shapes import Image


def new_case(
    model: Model,
    image: Image,
    target: int,
    *,
    layer: str,
    settings: Settings,
    head: Head | None = None,
) -> Case:
    """A case whose bank and scorer are made when a method needs them.

    Args:
        head: the kind of the scores; None to detect it.
    """

    def bank() -> ScoreBank:
        return make_bank(model, image, target, layer=layer, settings=settings)

    def scorer() -> Scorer:
        speed, batch_size = settings.speed, settings.batch_size
        return Scorer(model, image, head=head, speed=speed, batch_size=batch_size)

    return Case(
        model,
        image,
        target=target,
        layer=layer,
        make_bank=bank,
        make_scorer=scorer,
        seed=settings.seed,
    )


def case_of(model: Model, explanation: Explanation) -> Case:
    """The case of an explanation, with its bank.

    Raises:
        PhotoError: the explanation has no image, because it was read from a bank.
    """
    image, bank = explanation.image, explanation.bank
    if image is None:
        raise PhotoError(
            "The image is not known, so other methods cannot explain it.",
            do="Explain the photo, not a saved bank.",
        )
    model = explained_model(model, explanation)
    return Case(
        model,
        image,
        target=explanation.target.index,
        layer=explanation.layer,
        make_bank=lambda: bank,
        make_scorer=lambda: Scorer(model, image, head=bank.head),
        seed=bank.provenance.seed,
    )
