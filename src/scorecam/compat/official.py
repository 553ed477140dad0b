"""The authors' released code (github.com/haofanwang/Score-CAM): its call and its map.

    from scorecam.compat.official import ScoreCAM

The only difference from `variant="official"` is that ReLU comes after upsampling, which matters for
layers with negative activations. For a constant map, the authors return None; this returns zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.base.wording import quoted
from scorecam.cam import weighted_sum
from scorecam.compat.maps import column_of
from scorecam.errors import LayerError, SettingError
from scorecam.io.arguments import instance

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class ScoreCAM:
    """Score-CAM with the authors' signature.

    Args:
        model_dict: "arch" is the network; "layer_name" is written with dots, or with underscores
            as the authors do. Other entries are ignored.
    """

    def __init__(self, model_dict: Mapping[str, Any]) -> None:
        do = 'Give {"arch": network, "layer_name": name}.'
        instance("model_dict", model_dict, Mapping, do)
        for entry in ("arch", "layer_name"):
            if entry not in model_dict:
                raise SettingError(
                    f"model_dict has no entry {quoted(entry)}.",
                    do=do,
                )
        network = instance('model_dict["arch"]', model_dict["arch"], nn.Module, do)
        name = str(model_dict["layer_name"])
        names = [known for known, _ in network.named_modules()]
        dotted = {known.replace(".", "_"): known for known in names if known}
        if name not in names and name not in dotted:
            raise LayerError(
                f"The network has no layer {quoted(name)}.",
                do="List the layers with scorecam.layers(network, image).",
            )
        layer = name if name in names else dotted[name]
        self._cam = scorecam.ScoreCAM(scorecam.open_model(network, head="logits"), layer)

    def __call__(
        self,
        input: Tensor,  # noqa: A002  (the authors' name)
        class_idx: int | None = None,
        retain_graph: bool = False,
    ) -> Tensor:
        """The map of one image.

        Args:
            input: `1 c h w`, preprocessed.
            class_idx: the class; None for the prediction.
            retain_graph: ignored; there are no gradients.

        Returns:
            `1 1 h w` in [0, 1].
        """
        del retain_graph
        bank = self._cam.bank(input)
        weights = bank.weights(column_of(bank, class_idx), "official")[bank.asked]
        signed = weighted_sum(bank.activations[bank.asked], weights)[None, None]
        upsampled = functional.interpolate(signed, bank.size, mode=MODES[len(bank.size)]).relu()
        return scorecam.scaled(upsampled)
