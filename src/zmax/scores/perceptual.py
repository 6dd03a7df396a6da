"""`perceptual:FILE` and `lpips:FILE`: how near a picture comes to a given one in the features of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import MissingExtraError
from zmax.core.samples import Samples
from zmax.scores.attribute import avatar_pictures, network_of
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures, reduced
from zmax.scores.target import read_picture
from zmax.scores.zoo import AttributeJudge as JudgeNetwork


class Perceptual(NamedScore):
    r"""Minus the distance to the picture in a file, in the features of the network behind `attribute-judge`.

    .. math:: S(x) = -\sum_l \frac{1}{P_l} \sum_p
              \Big\lVert \frac{\phi_l(x)_p}{|\phi_l(x)_p|} - \frac{\phi_l(y)_p}{|\phi_l(y)_p|} \Big\rVert^2

    over the layers l and the patches p. For avatars; `lpips:FILE` is its counterpart for photographs.

    Reference: Zhang et al. 2018, *The unreasonable effectiveness of deep features as a perceptual metric*, eq. 1
    without the learned weights, https://arxiv.org/abs/1801.03924.

    Args:
        file: a picture of the generator's size, or of a whole multiple of it.

    Raises:
        InputError: the file is missing or is no picture, or the network's weights are not installed.
    """

    differentiable = True
    bounds = (float("-inf"), 0.0)

    def __init__(self, file: str) -> None:
        self.name = f"perceptual:{file}"
        self._network = cast(JudgeNetwork, network_of("attribute-judge"))
        self.networks = (self._network,)
        self._picture = read_picture(file)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the distance of pictures (n, 3, 16, 16), or of a whole multiple of that size."""
        images = avatar_pictures(samples, self.name, self._network)
        target = avatar_pictures(self._picture.to(images), self.name, self._network)
        return 0 - distance(self._network.layers(images), self._network.layers(target))


class LPIPS(NamedScore):
    r"""Minus the LPIPS distance to the picture in a file (package `lpips`, VGG features, learned weights).

    Reference: Zhang et al. 2018, https://arxiv.org/abs/1801.03924.

    Args:
        file: a picture of the generator's size, or of a whole multiple of it.

    Raises:
        InputError: the file is missing or is no picture.
        MissingExtraError: the package is not installed.
    """

    differentiable = True
    bounds = (float("-inf"), 0.0)

    def __init__(self, file: str) -> None:
        try:
            import lpips
        except ImportError as error:
            raise MissingExtraError("lpips", "lpips", "the score lpips:FILE") from error
        self.name = f"lpips:{file}"
        self._file, self._picture = file, read_picture(file)
        self._network: torch.nn.Module = lpips.LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)
        self.networks = (self._network,)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the distance of pictures (n, 3, h, w)."""
        images = pictures(samples, self.name).to(next(self._network.parameters()))
        size = (images.shape[2], images.shape[3])
        target = reduced(self._picture, size, what=f"the picture {self._file}", to="the generator's pictures")
        value: Tensor = self._network(2 * images - 1, 2 * target.to(images) - 1)
        return 0 - value.flatten(1).mean(1)


def distance(ours: Sequence[Float[Tensor, "n p c"]], theirs: Sequence[Float[Tensor, "m p c"]]) -> Float[Tensor, " n"]:
    """Return the squared distance of unit-length features, averaged over places and summed over layers.

    Example:
        >>> same, opposite = torch.ones(1, 2, 3), -torch.ones(1, 2, 3)
        >>> [round(float(distance([same], [other])), 4) for other in (same, opposite)]
        [0.0, 4.0]
    """
    apart = [
        torch.nn.functional.normalize(a, dim=2) - torch.nn.functional.normalize(b, dim=2)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return torch.stack([layer.square().sum(2).mean(1) for layer in apart]).sum(0)
