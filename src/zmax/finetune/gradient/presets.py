"""Reward backpropagation as it was published: presets of :class:`~zmax.finetune.gradient.direct.Direct`."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.core.strategy import Need
from zmax.finetune.gradient.direct import Direct


@preset("batch", "temperature", "memory", keep=0.0, memory="truncated:1")
class DRaFT(Direct):
    """Backpropagate the score through the last K steps of the sampler (DRaFT-K).

    What "truncated:1" leaves out are the Jacobians of all networks but the last step's. Nothing keeps the child to its
    parent but the rule that chooses weights.

    Example:
        >>> DRaFT().memory, DRaFT().keep
        ('truncated:1', 0.0)
    """

    needs = frozenset({Need.GRADIENT, Need.TENSORS, Need.DENOISER})
    use = "a diffusion or flow model and S differentiable, and only the first rounds count"
    reference = "Clark et al., DRaFT, ICLR 2024, section 3.2, https://arxiv.org/abs/2309.17400"


@preset("batch", "temperature", keep=0.0, memory="random")
class AlignProp(Direct):
    """Backpropagate the score through the last K steps of the sampler, K drawn anew each round.

    Nothing keeps the child to its parent but the rule that chooses weights.

    Example:
        >>> AlignProp().memory
        'random'
    """

    needs = frozenset({Need.GRADIENT, Need.TENSORS, Need.DENOISER})
    use = "as draft-k, where early steps matter too"
    reference = "Prabhudesai et al., AlignProp, 2023, section 4, https://arxiv.org/abs/2310.03739"
