"""Wrap any denoiser, an nn.Module or a plain function, as a diffusion or flow model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from zmax.core.defaults import ours
from zmax.core.errors import InputError
from zmax.core.generator import MODALITIES, Schedule
from zmax.core.networks import Opaque, as_network
from zmax.core.samples import Samples
from zmax.generators.diffusion.denoisers import EDMDenoiser, NetworkDenoiser, Prediction, Time
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.reversible import Reversible
from zmax.generators.diffusion.samplers import DDIM, Ancestral, Heun, PathSampler
from zmax.generators.diffusion.schedules import schedule as schedule_of

Parametrisation = Prediction | Literal["edm"]

SAMPLERS: dict[str, Callable[[int], PathSampler]] = {
    "ddim": DDIM,
    "ancestral": Ancestral,
    "heun": Heun,
    "dpm-solver": DPMSolver,
    "reversible": Reversible,
}


@ours()
def diffusion(
    denoiser: nn.Module | Callable[[Tensor, Tensor], Tensor],
    *,
    shape: Sequence[int],
    schedule: str | Schedule,
    steps: int = 50,
    parametrisation: Parametrisation = "x0",
    time: Time | None = None,
    sampler: str = "ddim",
    finish: Callable[[Tensor], Samples] | None = None,
    modality: str = "other",
    name: str | None = None,
    memory: str = "none",
    networks: Sequence[nn.Module] = (),
    differentiable: bool = True,
) -> DenoiserGenerator:
    r"""Wrap the denoiser of a diffusion or flow model, so that every method can search its noise or steer its path.

    .. math:: x_t = \alpha(t)\, x_0 + \sigma(t)\, \epsilon, \qquad t: \text{noise} \to \text{data}

    Args:
        denoiser: (x_t, time) -> the prediction, with x_t (n, *shape), time (n,), and an answer of the shape of x_t,
            each row from its own row alone. A module is put in evaluation mode and receives x_t on its own device and
            dtype.
        shape: shape of one sample in the network's scale.
        schedule: noise levels: "vp-linear", "vp-scaled-linear", "vp-cosine", "ve", "edm", "rectified-flow",
            "rectified-flow-shifted", or an object with `alpha(t)`, `sigma(t)` and `times(steps)`.
        steps: steps from noise to data.
        parametrisation: what the denoiser answers: "x0", the data E[x_0 | x_t]; "epsilon", the noise; "v", that of
            progressive distillation; "velocity", epsilon - x_0; or "edm", F of EDM for data of standard deviation 0.5
            (for another one give `zmax.generators.EDMDenoiser(network, schedule, sigma_data=...)` as an x0 denoiser).
            Equations: :func:`~zmax.generators.diffusion.denoisers.denoised`.
        time: maps the schedule's time to what the denoiser takes, such as `zmax.generators.discrete_index(1000)`; as it
            is if None.
        sampler: "ddim", "ancestral", "heun", "dpm-solver" or "reversible"; what steers the path takes steps of
            SDE-DPM-Solver++(2M), as many of them.
        finish: maps the network's data scale to samples, such as `lambda x: (x + 1) / 2`; as they are if None.
        modality: "image" (n, 3, h, w in [0, 1]), "text", "vector" or "other"; decides how reports show samples.
        name: how reports call it.
        memory: what gradients through all steps keep: "none" (all), "checkpoint", "sqrt", "truncated:K", "detached" or
            "invertible"; see :class:`~zmax.generators.diffusion.memory.Memory`.
        networks: networks that `denoiser` runs, if it is a function around them; each call is one NFE a sample.
            A function without networks counts as one NFE a sample.
        differentiable: whether autograd can follow `denoiser` and `finish`.

    Returns:
        The generator: latents are its noises, and `stochastic()` is the same model with fresh noise on the way.

    Raises:
        InputError: an argument is not known, or the parametrisation tells nothing at the schedule's first time.
        CapabilityError: the sampler does not allow the memory policy.

    Example:
        >>> import torch, zmax
        >>> levels = zmax.generators.SCHEDULES["vp-linear"]()
        >>> def epsilon(x_t, t):  # of data that are N(0, I)
        ...     return levels.sigma(t)[:, None] * x_t
        >>> G = diffusion(epsilon, shape=(2,), schedule=levels, steps=20, parametrisation="epsilon", modality="vector")
        >>> zmax.maximize(G, lambda x: x[:, 0], "fk", budget=200).best.score > 1
        True
    """
    if modality not in MODALITIES:
        raise InputError("modality", expected=", ".join(MODALITIES), got=repr(modality))
    if sampler not in SAMPLERS:
        raise InputError("the sampler of a diffusion model", expected=", ".join(SAMPLERS), got=repr(sampler))
    levels = schedule_of(schedule)
    return DenoiserGenerator(
        _denoiser(denoiser, levels, parametrisation, time, steps),
        shape=shape,
        schedule=levels,
        sampler=SAMPLERS[sampler](steps),
        name=str(name or getattr(denoiser, "__name__", type(denoiser).__name__)),
        modality=modality,
        finish=finish,
        memory=memory,
        networks=networks,
        differentiable=differentiable,
    )


def _denoiser(
    given: nn.Module | Callable[[Tensor, Tensor], Tensor],
    levels: Schedule,
    parametrisation: Parametrisation,
    time: Time | None,
    steps: int,
) -> nn.Module:
    if isinstance(given, type) or not callable(given):
        expected = "a module or function (x_t, t) -> prediction"
        raise InputError("the denoiser of a diffusion model", expected=expected, got=repr(given))
    if parametrisation in ("epsilon", "edm") and not float(levels.alpha(levels.times(steps)[:1])) > 0:
        raise InputError(
            f"a denoiser that answers {parametrisation!r} on a schedule whose first time has no signal",
            expected="alpha > 0 there, or an answer in x0, v or velocity",
            got="alpha = 0",
        )
    found = as_network(given)
    network = found if isinstance(found, nn.Module) else Opaque(found)
    if parametrisation != "edm":
        return NetworkDenoiser(network, levels, prediction=parametrisation, time=time)
    if time is not None:
        raise InputError("time beside parametrisation='edm'", remedy="leave it out: F takes ln(sigma) / 4")
    return EDMDenoiser(network, levels)
