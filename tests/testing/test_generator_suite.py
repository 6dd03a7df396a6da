"""The generator and score suites catch each way of breaking the contract, and load without pytest."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.space import Space
from zmax.testing import GeneratorConformance, ScoreConformance


class Decoder(Generator):
    """A small smooth decoder in float32."""

    def __init__(self):
        self.layer = nn.utils.skip_init(nn.Linear, 4, 3)
        with torch.no_grad():
            for p in self.layer.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
        self.name, self.modality, self.differentiable = "decoder", "vector", True
        self.space, self.networks = Space.of((4,), "uniform"), (self.layer,)

    def decode(self, z):
        return self.layer(z.float()).tanh()


class Words(Decoder):
    """A decoder that returns strings."""

    def __init__(self):
        super().__init__()
        self.differentiable = False

    def decode(self, z):
        with torch.no_grad():
            return ["".join("ab"[int(v > 0)] for v in row) for row in self.layer(z.float())]


class TestDecoder(GeneratorConformance):
    def make(self):
        return Decoder()


class TestWords(GeneratorConformance):
    def make(self):
        return Words()


class Normalises(Decoder):
    def decode(self, z):
        x = super().decode(z)
        return x / x.norm()


class Noisy(Decoder):
    def decode(self, z):
        return super().decode(z) + 0.1 * torch.rand(len(z), 3)


class DropsOne(Decoder):
    def decode(self, z):
        return super().decode(z)[:1]


class Constant(Decoder):
    def decode(self, z):
        return 0 * super().decode(z)


class Detaches(Decoder):
    def decode(self, z):
        x = super().decode(z)
        return x.detach() + 0.5 * (x - x.detach())


class Uncounted(Decoder):
    def decode(self, z):
        return nn.functional.linear(z.float(), self.layer.weight)


class Trains(Decoder):
    def decode(self, z):
        self.layer.train(not self.layer.training)
        return super().decode(z)


class Builds(Decoder):
    def decode(self, z):
        with torch.enable_grad():
            return super().decode(z)


class Unnamed(Decoder):
    def __init__(self):
        super().__init__()
        self.modality = "smell"


class Odd(Decoder):
    def __init__(self):
        super().__init__()
        self.space = OddSpace(self.space.blocks)


class OddSpace(Space):
    def whiten(self, z):
        return 2 * super().whiten(z)


GENERATORS = {
    "describes_itself": Unnamed,
    "returns_one_sample_a_latent": DropsOne,
    "is_deterministic": Noisy,
    "samples_do_not_depend_on_the_batch": Normalises,
    "depends_on_its_latents": Constant,
    "latents_round_trip": Odd,
    "gradients_are_those_of_the_samples": Detaches,
    "networks_are_called": Uncounted,
    "leaves_no_trace": [Trains, Builds],
}


@pytest.mark.parametrize(
    ("test", "mutant"),
    [(t, m) for t, ms in GENERATORS.items() for m in (ms if isinstance(ms, list) else [ms])],
)
def test_each_generator_law_catches_its_mutant(test, mutant):
    class Suite(GeneratorConformance):
        def make(self):
            return mutant()

    with pytest.raises(AssertionError):
        getattr(Suite(), f"test_{test}")()


class Sum(Score):
    """A sound score."""

    name, differentiable = "sum", True

    def __call__(self, samples):
        return samples.sin().sum(1)


class TestSum(ScoreConformance):
    def make(self):
        return Sum()

    def samples(self):
        return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class TestLength(TestSum):
    """A score of strings."""

    def make(self):
        class Length(Score):
            name = "length"

            def __call__(self, samples):
                return torch.tensor([float(len(s)) for s in samples])

        return Length()

    def samples(self):
        return ["a", "bb", "", "dddd"]


def mutant(call, **attributes):
    return type("Mutant", (Sum,), {"__call__": call, **attributes})


SCORES = {
    "describes_itself": mutant(Sum.__call__, name=""),
    "returns_one_finite_value_a_sample": [
        mutant(lambda self, x: x),
        mutant(lambda self, x: x.sum(1) / 0),
        mutant(lambda self, x: x.sum(1).long()),
        mutant(lambda self, x: x.sum(1), bounds=(0.0, 0.5)),
    ],
    "is_deterministic_unless_noisy": mutant(lambda self, x: x.sum(1) + torch.rand(len(x))),
    "values_do_not_depend_on_the_batch": mutant(lambda self, x: (x - x.mean(0)).square().sum(1)),
    "leaves_the_samples_alone": mutant(lambda self, x: x.mul_(2).sum(1)),
    "gradients_are_those_of_the_values": mutant(lambda self, x: x.detach().sin().sum(1) + x.sum(1) * 0),
}


@pytest.mark.parametrize(
    ("test", "broken"),
    [(t, m) for t, ms in SCORES.items() for m in (ms if isinstance(ms, list) else [ms])],
)
def test_each_score_law_catches_its_mutant(test, broken):
    class Suite(TestSum):
        def make(self):
            return broken()

    with pytest.raises(AssertionError):
        getattr(Suite(), f"test_{test}")()


def test_suites_load_without_pytest():
    code = "import sys; sys.modules['pytest'] = None; from zmax.testing import StrategyConformance; print(True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
