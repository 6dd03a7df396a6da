"""Shipped judges of avatars: what a picture shows, and how real it looks."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import InputError, UnknownNameError
from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures, reduced
from zmax.scores.zoo import AttributeJudge as JudgeNetwork
from zmax.scores.zoo import AttributeNet, load

_SIZE = (16, 16)
_Classifier = AttributeNet | JudgeNetwork


class Attribute(NamedScore):
    r"""Log-odds that an avatar has an attribute, by a classifier.

    .. math:: S(x) = \log p(\mathrm{label} \mid x) - \log p(\mathrm{not\ label} \mid x)

    Args:
        label: what it should show; `zmax list` gives the labels.

    Raises:
        InputError: the classifier's weights are not installed.
        UnknownNameError: no label is called so; the message offers the nearest.
    """

    differentiable = True
    unit = "log-odds"
    network_name: ClassVar[str] = "attribute"

    def __init__(self, label: str) -> None:
        network = cast(_Classifier, network_of(self.network_name))
        if label not in network.heads.labels:
            raise UnknownNameError(f"label of {self.network_name!r}", label, network.heads.labels)
        self.name = f"{self.network_name}:{label}"
        self.networks = (network,)
        self._network = network
        self._label = label

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        """Return the labels, or nothing where the weights are not installed."""
        try:
            return cast(_Classifier, network_of(cls.network_name)).heads.labels
        except InputError:
            return ()

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the log-odds of pictures (n, 3, 16, 16), or of a whole multiple of that size."""
        return self._network.log_odds(avatar_pictures(samples, self.name, self._network), self._label)

    def features(self, samples: Samples) -> Float[Tensor, "n f"]:
        """Return what the network's last layer reads."""
        return self._network.features(avatar_pictures(samples, self.name, self._network))


class AttributeJudge(Attribute):
    r"""Log-odds by a second classifier, of another architecture and other data: the held-out judge.

    .. math:: S(x) = \log p(\mathrm{label} \mid x) - \log p(\mathrm{not\ label} \mid x)

    Args:
        label: what it should show; the labels of `attribute`.
    """

    network_name: ClassVar[str] = "attribute-judge"


class Realism(NamedScore):
    r"""Log-odds that a picture is real rather than generated, by a discriminator.

    .. math:: S(x) \approx \log p_\mathrm{data}(x) / p_\mathrm{fake}(x)

    Reference: Goodfellow et al. 2014, *Generative adversarial nets*, proposition 1, https://arxiv.org/abs/1406.2661.

    Args:
        domain: what it judges: "avatars".
    """

    differentiable = True
    unit = "log-odds"

    def __init__(self, domain: str) -> None:
        if domain not in self.choices():
            raise UnknownNameError("domain of 'critic'", domain, self.choices())
        self.name = f"critic:{domain}"
        self._network = network_of("critic")
        self.networks = (self._network,)

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        """Return the domains it judges."""
        return ("avatars",)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the logit of pictures (n, 3, 16, 16), or of a whole multiple of that size."""
        value: Tensor = self._network(avatar_pictures(samples, self.name, self._network))
        return value


@cache
def network_of(name: str) -> nn.Module:
    """Load a shipped judge, once in a process.

    Raises:
        InputError: its weights are not installed.
    """
    try:
        return load(name)
    except FileNotFoundError as error:
        raise InputError(
            f"the weights of {name!r} are not installed", remedy="reinstall zmax, or train them: see zoo/"
        ) from error


def avatar_pictures(samples: Samples, name: str, network: nn.Module) -> Float[Tensor, "n 3 16 16"]:
    """Check that the samples are pictures, and bring them to the size, device and dtype of a network of avatars."""
    images = reduced(pictures(samples, name), _SIZE, what=f"samples for {name!r}", to="the network's pictures")
    return images.to(next(network.parameters()))
