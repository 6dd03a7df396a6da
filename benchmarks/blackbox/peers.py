"""Other libraries' optimisers on the black box; each searches u ~ N(0, I_d) from u = 0 with what it recommends.

A peer is a function of the box, the seed and one setting; it asks and tells until the box raises Spent. The setting is
the first step in units of the prior's standard deviation (TPE, TuRBO: the half-width of the cube they search), of which
each peer gets two, and is reported, problem by problem, with whichever turned out better. The rest is the library's
default or, where it has none, its documents' advice:

- pycma, pyribs, EvoTorch's CMA-ES: full covariance up to d = 512, diagonal above; default population; pycma and cmaes
  start again with twice the population when one of their criteria stops them
- cmaes: CMA up to d = 256 (it decomposes the covariance every round), SepCMA everywhere
- nevergrad: one point at a time; NgIohTuned up to d = 64: on the larger problems it makes the very calls of NGOpt
- Optuna's CMA-ES sampler, which is that of cmaes behind one parameter a coordinate: on [-5, 5]^d, its first trial at 0,
  up to d = 64 (it takes 44 ms a call at d = 128, 540 at 768)
- Optuna's TPE (multivariate): up to d = 64, to 500 calls; three seeds, as for its CMA-ES
- EvoTorch's PGPE: ClipUp, largest speed 1/15 of the radius, rate of the centre half of that (Toklu et al. 2020, section
  2.2, https://arxiv.org/abs/2008.02387), population 40
- pyribs: EvolutionStrategyEmitter ranked by the objective, on an archive of a single cell, restarted by its own rules
- TuRBO-1: see `turbo.py`; on `mlp:64`, three seeds, to 500 calls, one setting, for the minutes it takes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.blackbox.harness import BlackBox
from benchmarks.blackbox.turbo import turbo

FULL = 512
"""Largest dimension that gets a full covariance."""
BOUND = 5.0
"""Optuna wants bounds."""
STEPS = (0.3, 1.0)
WIDTHS = (3**0.5, 3.0)


@dataclass(frozen=True)
class Peer:
    """How to run a peer, and where it is feasible.

    Attributes:
        run: plays on a box with a seed and a setting.
        settings: the candidates.
        max_dim: largest dimension at which it is run.
        max_calls: where it stops.
        seeds: how many seeds it gets at most.
        only: the problems it is run on, all where empty.
    """

    run: Callable[[BlackBox, int, float], None]
    settings: tuple[float, ...] = STEPS
    max_dim: int = 1_000_000
    max_calls: int = 1_000_000
    seeds: int = 1_000_000
    only: tuple[str, ...] = ()


def pycma(box: BlackBox, seed: int, setting: float) -> None:
    import cma

    dim, population = box.problem.dim, 4 + int(3 * np.log(box.problem.dim))
    while True:
        options = {"seed": seed + 1, "verbose": -9, "popsize": population, "CMA_diagonal": dim > FULL}
        search = cma.CMAEvolutionStrategy(dim * [0.0], setting, options)
        box.favourite = lambda search=search: search.result.xfavorite
        while not search.stop():
            points = search.ask()
            search.tell(points, list(-box(np.asarray(points))))
        population *= 2


def cmaes(box: BlackBox, seed: int, setting: float) -> None:
    from cmaes import CMA

    _cmaes(CMA, box, seed, setting)


def sep_cmaes(box: BlackBox, seed: int, setting: float) -> None:
    from cmaes import SepCMA

    _cmaes(SepCMA, box, seed, setting)


def _cmaes(kind: Any, box: BlackBox, seed: int, setting: float) -> None:
    population = 4 + int(3 * np.log(box.problem.dim))
    while True:
        search = kind(mean=np.zeros(box.problem.dim), sigma=setting, seed=seed, population_size=population)
        box.favourite = lambda search=search: search.mean
        while not search.should_stop():
            points = [search.ask() for _ in range(search.population_size)]
            search.tell(list(zip(points, -box(np.asarray(points)), strict=True)))
        population, seed = 2 * population, seed + 1


def ngopt(box: BlackBox, seed: int, setting: float) -> None:
    _nevergrad("NGOpt", box, seed, setting)


def ngiohtuned(box: BlackBox, seed: int, setting: float) -> None:
    _nevergrad("NgIohTuned", box, seed, setting)


def _nevergrad(name: str, box: BlackBox, seed: int, setting: float) -> None:
    import nevergrad

    parameters = nevergrad.p.Array(init=np.zeros(box.problem.dim)).set_mutation(sigma=setting)
    parameters.random_state.seed(seed)
    search = nevergrad.optimizers.registry[name](parameters, budget=box.marks[-1])
    box.favourite = lambda: search.provide_recommendation().value
    while True:
        point = search.ask()
        search.tell(point, -float(box(point.value[None])[0]))


def optuna_cma(box: BlackBox, seed: int, setting: float) -> None:
    import optuna

    dim = box.problem.dim
    sampler = optuna.samplers.CmaEsSampler(
        x0=dict.fromkeys(map(str, range(dim)), 0.0),
        sigma0=setting / (2 * BOUND),  # it searches the unit cube
        seed=seed,
        warn_independent_sampling=False,
    )
    _optuna(sampler, box, BOUND, population=4 + int(3 * np.log(dim)))


def optuna_tpe(box: BlackBox, seed: int, setting: float) -> None:
    import optuna

    _optuna(optuna.samplers.TPESampler(seed=seed, multivariate=True), box, setting, population=1)


def _optuna(sampler: Any, box: BlackBox, bound: float, population: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = [str(i) for i in range(box.problem.dim)]
    space = dict.fromkeys(names, optuna.distributions.FloatDistribution(-bound, bound))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(dict.fromkeys(names, 0.0))
    asked = [study.ask(space)]
    while True:
        points = np.array([[trial.params[name] for name in names] for trial in asked])
        for trial, score in zip(asked, box(points), strict=True):
            study.tell(trial, float(score))
        asked = [study.ask(space) for _ in range(population)]


def evotorch_snes(box: BlackBox, seed: int, setting: float) -> None:
    from evotorch.algorithms import SNES

    problem, zero = _evotorch(box, seed)
    _step(box, SNES(problem, stdev_init=setting, center_init=zero))


def evotorch_pgpe(box: BlackBox, seed: int, setting: float) -> None:
    from evotorch.algorithms import PGPE

    problem, zero = _evotorch(box, seed)
    speed = setting * box.problem.dim**0.5 / 15
    search = PGPE(
        problem,
        popsize=40,
        center_learning_rate=speed / 2,
        stdev_learning_rate=0.1,
        stdev_init=setting,
        optimizer="clipup",
        optimizer_config={"max_speed": speed},
        center_init=zero,
    )
    _step(box, search)


def evotorch_cma(box: BlackBox, seed: int, setting: float) -> None:
    from evotorch.algorithms import CMAES

    problem, zero = _evotorch(box, seed)
    _step(box, CMAES(problem, stdev_init=setting, center_init=zero, separable=box.problem.dim > FULL))


def _evotorch(box: BlackBox, seed: int) -> tuple[Any, Any]:
    import torch
    from evotorch import Problem
    from evotorch.decorators import vectorized
    from evotorch.tools import set_default_logger_config

    set_default_logger_config(logger_level=50, override=True)

    @vectorized
    def score(points: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(box(points.double().numpy()), dtype=torch.float32)

    dim = box.problem.dim
    problem = Problem("max", score, solution_length=dim, initial_bounds=(-1, 1), dtype=torch.float32, seed=seed)
    return problem, torch.zeros(dim)


def _step(box: BlackBox, search: Any) -> None:
    box.favourite = lambda: search.status["center"].numpy()
    while True:
        search.step()


def pyribs(box: BlackBox, seed: int, setting: float) -> None:
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter

    dim = box.problem.dim
    archive = GridArchive(solution_dim=dim, dims=[1], ranges=[(-1, 1)], seed=seed)
    emitter = EvolutionStrategyEmitter(
        archive,
        x0=np.zeros(dim),
        sigma0=setting,
        ranker="obj",
        es="sep_cma_es" if dim > FULL else "cma_es",
        selection_rule="mu",
        restart_rule="basic",
        seed=seed,
    )
    while True:
        points = emitter.ask()
        score, measures = box(points), np.zeros((len(points), 1))
        emitter.tell(points, score, measures, archive.add(points, score, measures))


SMALL = 64
"""Largest dimension for what handles coordinates one by one, or takes seconds a round."""

PEERS: dict[str, Peer] = {
    "pycma": Peer(pycma),
    "cmaes": Peer(cmaes, max_dim=256),
    "cmaes-sep": Peer(sep_cmaes),
    "nevergrad-ngopt": Peer(ngopt),
    "nevergrad-ngiohtuned": Peer(ngiohtuned, max_dim=SMALL),
    "optuna-cma": Peer(optuna_cma, max_dim=SMALL, seeds=3),
    "optuna-tpe": Peer(optuna_tpe, settings=WIDTHS, max_dim=SMALL, max_calls=500, seeds=3),
    "evotorch-snes": Peer(evotorch_snes),
    "evotorch-pgpe": Peer(evotorch_pgpe),
    "evotorch-cma": Peer(evotorch_cma),
    "pyribs": Peer(pyribs),
    "botorch-turbo": Peer(turbo, settings=WIDTHS[:1], max_calls=500, seeds=3, only=("mlp:64",)),
}
