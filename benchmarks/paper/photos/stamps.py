"""The photographs of cut-out objects, and the ImageNet class of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.paper.photos import packages

# Labelled by eye. Excluded: drawings, species that ImageNet lacks, and objects that are not
# identifiable. A "~" after the class marks the nearest class, such as tank for an infantry fighting
# vehicle.
_TABLE = """
animals/birds/chicken_profile n01514859
animals/birds/hen n01514859
animals/birds/gander n01855672
animals/birds/magpie n01582220~
animals/birds/pelican n02051845
animals/birds/penguin n02056570
animals/birds/pink_flamingo n02007558
animals/birds/peacock n01806143
animals/birds/ostrich n01518878
animals/birds/rainbow-lorikeet n01820546
animals/birds/vulture n01616318
animals/birds/crowned_crane n02012849~
animals/fish/lionfish n02643566
animals/fish/lobster n01984695
animals/insects/Woodlouse n01990800
animals/lizards/iguana n01677366
animals/mammals/apes/gorilla n02480855
animals/mammals/aquatic/sea_lion n02077923
animals/mammals/badger n02447366
animals/mammals/bears/european-bear n02132136
animals/mammals/bears/toys/edward_bear n04399382
animals/mammals/bovines/bison n02410509
animals/mammals/camel/dromedary n02437312
animals/mammals/cats/lion n02129165
animals/mammals/cats/lion-2 n02129165
animals/mammals/cats/tiger_sumatran n02129604
animals/mammals/dogs/dingo n02115641
animals/mammals/dogs/fox n02119022
animals/mammals/equines/zebra n02391049
animals/mammals/hippopotamus n02398521
animals/mammals/pig n02395406
animals/mammals/pig_golden2 n02395406
animals/mammals/rodents/beaver n02363005
animals/mammals/rodents/marmot n02361337
animals/mammals/rodents/squirrel n02356798~
animals/mammals/wildboar n02396427
animals/marsupials/koala n01882714
animals/marsupials/wombat n01883070
food/fruit/Strawberry2 n07745940
food/fruit/strawberry n07745940
food/fruit/apple_green n07742313
food/fruit/banana n07753592
food/fruit/lemon n07749582
food/fruit/orange n07747607
food/fruit/orange_seville n07747607
food/fruit/sliced_orange n07747607
food/fruit/pomegranate n07768694
food/vegetables/broccoli n07714990
food/vegetables/pepper n07720875
food/vegetables/mushroom n07734744
plants/mushrooms/cep-2 n13054560
hobbies/binoculars n02841315
hobbies/camera_35mm n04069434
hobbies/music/percussion/drum_tomtom_floor n03249569
hobbies/music/percussion/drumkit n03249569
hobbies/music/string/cello n02992211
hobbies/music/string/violin n04536866
hobbies/music/string/guitar2 n03272010
hobbies/music/string/guitar_electric n03272010
hobbies/music/string/guitar_electric_bass n03272010
hobbies/music/wind/bassoon n02804610
household/dishes/pitcher_small n03950228
household/dishes/teapot n04398044
medical/syringe n04376876
medical/stethoscope n04317175
medical/bandage_adhesive n02786058
military/vehicles/bradley n04389033~
military/ammunition/old_naval_shell n04008634
sports/soccer n04254680
town/usps_mailbox n03710193
vehicles/7spoke256 n02974003
vehicles/cycle/pink_tricycle n04482393
vehicles/emergency/firetruck n03345487
vehicles/flight/balloon360 n02782093
vehicles/flight/planes/747 n02690373
vehicles/garbagetruck n03417042
vehicles/race/indycar n04037443
"""


@dataclass(frozen=True)
class Stamp:
    """A cut-out object.

    Args:
        path: its path in the package, without suffix.
        wnid: its class.
        exact: whether this is its class, or only the nearest one.
    """

    path: str
    wnid: str
    exact: bool


@dataclass(frozen=True)
class Cut:
    """A stamp's picture.

    Args:
        picture: RGBA, without an empty margin.
        cover: the share of its pixels that belong to the object, in (0, 1].
    """

    picture: Image.Image
    cover: float


STAMPS = tuple(
    Stamp(path, wnid.rstrip("~"), not wnid.endswith("~"))
    for path, wnid in (line.split() for line in _TABLE.strip().splitlines())
)


def load(root: Path, path: str) -> Cut:
    """Read the picture of a stamp from the unpacked packages."""
    picture = Image.open(root / packages.STAMPS / f"{path}.png").convert("RGBA")
    solid = np.asarray(picture)[..., 3] > 127
    y, x = np.nonzero(solid)
    picture = picture.crop((int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1))
    return Cut(picture, float(solid.sum()) / (picture.width * picture.height))
