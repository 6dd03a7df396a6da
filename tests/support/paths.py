"""The conformance suite of methods that steer a path: its problem, what a trace costs, and the sampler's own law."""

import torch

from zmax.core.rng import stream
from zmax.testing import StrategyConformance, gaussian_mixture, quadratic_score

STEPS = 8
FAR = quadratic_score([[2.0, 0.0], [0.0, 2.0]], [5.0, -3.0])
NEAR = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


def model():
    law = gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])
    return law.generator(steps=STEPS, eta=1.0)


class Walked(StrategyConformance):
    """Two modes in the plane and a score with its maximum beyond both, where prior draws are rare."""

    def problem(self):
        return model(), FAR

    def draws(self, trace):
        """Cost is counted in network evaluations, one a point and step, of points that did not fail."""
        return max(1, sum(int(e.ok.sum()) for e in trace.evaluations) // STEPS)


class Weighted(Walked):
    """For draws at a temperature: the law of the sampler itself, known from many plain decodes."""

    claim = "law"

    def problem(self):
        return model(), NEAR

    def law(self):
        x = self.place(model().space.sample(40_000, stream(0, "plain")))
        weight = (NEAR(x) / self.temperature).softmax(0)
        mean = weight @ x
        return mean, (weight[:, None] * (x - mean)).T @ (x - mean)

    def place(self, u):
        G = model()
        return G.decode(G.space.latents(u)).double()
