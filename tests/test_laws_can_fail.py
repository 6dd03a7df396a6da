"""Each checker of the house rules finds what it is for, and lets the lawful form through."""

from __future__ import annotations

import textwrap

import laws
import pytest
from circles import circles

UPWARD = [
    ("zmax.core.space", "from zmax.scores import score"),
    ("zmax.core.space", "def f():\n    import zmax.run.loop"),
    ("zmax.core.space", "from zmax import run"),
    ("zmax.core.space", "import zmax"),
    ("zmax.core.space", "from . import priors"),
    ("zmax.generators.module", "from zmax.scores.images import brightness"),
    ("zmax.search.evolution.cma", "from zmax.guide.particles.smc import resample"),
    ("zmax.search.evolution.cma", "from zmax.run.loop import run"),
    ("zmax.run.loop", "from zmax.cli import main"),
    ("zmax.run.loop", "from zmax.testing import linear_gaussian"),
    ("zmax.cli.verbs", "from zmax.testing import linear_gaussian"),
    ("zmax.testing.suites", "from zmax.cli import main"),
    ("zmax", "from zmax.cli import main"),
    ("zmax.unheard.of", "from zmax.core.space import Space"),
]
DOWNWARD = [
    ("zmax.core.space", "from zmax.core.priors import Prior\nimport math"),
    ("zmax.scores.images", "from zmax.core.score import Score"),
    ("zmax.search.evolution.cma", "from zmax.search.steps import step\nfrom zmax.core.strategy import Strategy"),
    ("zmax.run.loop", "from zmax.store import Journal\nfrom zmax.search import gradient"),
    ("zmax.cli.verbs", "import zmax\nfrom zmax import maximize\nfrom zmax.run.loop import run"),
    ("zmax.testing.suites", "from zmax.run.loop import run\nfrom zmax.search import gradient"),
    ("zmax.__main__", "from zmax.cli import main"),
    ("zmax", "from zmax import search, testing\nfrom zmax.run import maximize"),
]
FOREIGN = [
    ("zmax.search.evolution.snes", "from zmax.search.ascent.sphere import Sphere"),
    ("zmax.guide.paths.relay", "def f():\n    from zmax.guide.noise import dno"),
    ("zmax.search.random", "from zmax.search.evolution.cma import CMA"),
    ("zmax.search.evolution", "from zmax.search.ascent import gradient"),
]
OWN = [
    (
        "zmax.search.evolution.snes",
        "from zmax.search.evolution.separable import by_row\nfrom zmax.kit.ranks import lost",
    ),
    ("zmax.search", "from zmax.search.ascent.sphere import Sphere"),
    ("zmax.run.loop", "from zmax.run.evaluator import Evaluator"),
]
GLOBAL = [
    "import torch\ntorch.manual_seed(0)",
    "import torch\ntorch.cuda.manual_seed_all(0)",
    "import torch\ntorch.randn(3)",
    "import torch as t\nt.randn_like(x)",
    "from torch import randperm\nrandperm(4)",
    "import torch\ntorch.normal(0.0, 1.0, (3,))",
    "x.normal_()",
    "model.weight.data.uniform_(-1, 1)",
    "weights.multinomial(3)",
    "from torch import nn\nnn.init.xavier_uniform_(w)",
    "from torch import nn\nclass A(nn.Module):\n    def forward(self, x):\n        return x.normal_()",
    "import torch\ntorch.utils.data.DataLoader(d, shuffle=True)",
    "import numpy as np\nnp.random.randn(3)",
    "import numpy as np\nnp.random.seed(0)",
    "import numpy as np\nnp.random.default_rng()",
    "from numpy.random import default_rng\ndefault_rng()",
    "import random\nrandom.shuffle(x)",
    "import random\nrandom.Random()",
    "from random import choice\nchoice(x)",
]
EXPLICIT = [
    "import torch\ntorch.randn(3, generator=rng)",
    "import torch\ntorch.Generator().manual_seed(0)",
    "x.normal_(generator=rng)",
    "import torch\ntorch.zeros(3).multinomial(2, generator=rng)",
    "from torch import nn\nnn.init.zeros_(w)",
    "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n        self.w.normal_()",
    "import numpy as np\nnp.random.default_rng(0).normal()",
    "import random\nrandom.Random(0).random()",
    "rng.random()\nrng.normal(2)",
    "def multinomial(p, rng): ...\nmultinomial(p, rng)",
    "import torch\ntorch.manual_seed(0)  # noqa: TID251: initialisers",
    "import torch\ntorch.rand(7)  # global on purpose: nothing may depend on it",
]
HEAVY = [
    ("zmax.report.figures", "import matplotlib.pyplot as plt"),
    ("zmax.results.history", "try:\n    import pandas\nexcept ImportError:\n    pandas = None"),
    ("zmax.run.loop", "from rich.progress import Progress"),
    ("zmax.core.space", "import jinja2"),
    ("zmax.core.space", "import torchvision"),
    ("zmax.core.space", "class A:\n    import scipy"),
]
LIGHT = [
    ("zmax.core.space", "import math, sqlite3\nimport numpy as np\nfrom PIL import Image"),
    ("zmax.report.figures", "def draw():\n    import matplotlib"),
    ("zmax.report.page", "import jinja2"),
    ("zmax.run.progress", "from rich.progress import Progress"),
    ("zmax.cli", "import typer"),
    ("zmax.core.space", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
]


@pytest.mark.parametrize(("module", "source"), UPWARD)
def test_imports_that_point_upward_are_found(module: str, source: str) -> None:
    assert laws.forbidden_imports(source, module)


@pytest.mark.parametrize(("module", "source"), DOWNWARD)
def test_imports_that_point_downward_pass(module: str, source: str) -> None:
    assert laws.forbidden_imports(source, module) == []


@pytest.mark.parametrize("source", GLOBAL)
def test_global_randomness_is_found(source: str) -> None:
    assert laws.global_randomness(source)


@pytest.mark.parametrize("source", EXPLICIT)
def test_explicit_randomness_passes(source: str) -> None:
    assert laws.global_randomness(source) == []


@pytest.mark.parametrize(("module", "source"), HEAVY)
def test_heavy_imports_are_found(module: str, source: str) -> None:
    assert laws.heavy_imports(source, module)


@pytest.mark.parametrize(("module", "source"), LIGHT)
def test_light_imports_pass(module: str, source: str) -> None:
    assert laws.heavy_imports(source, module) == []


@pytest.mark.parametrize(("extra", "found"), [(0, False), (1, True)])
@pytest.mark.parametrize("docstring", ['    """Do."""\n', '    """Do.\n\n' + "    text\n" * 30 + '    """\n'])
def test_a_function_may_have_forty_lines_without_its_docstring(extra: int, found: bool, docstring: str) -> None:
    body = "    x = 1\n" * (laws.MAX_FUNCTION - 1 + extra)
    assert bool(laws.long_functions(f"class A:\n  pass\n\ndef f():\n{docstring}{body}")) is found


def test_missing_docstrings_are_found() -> None:
    source = '''
        """Module."""
        class A:
            def f(self): ...
            def _hidden(self): ...
        class B:
            """Documented."""
            def forward(self): ...
            def __len__(self): ...
        def g(): ...
        def _h(): ...
    '''
    assert laws.undocumented(textwrap.dedent(source)) == ["line 3: A", "line 4: A.f", "line 10: g"]
    assert laws.undocumented("x = 1") == ["the module"]


def test_a_package_that_does_more_than_name_things_is_found() -> None:
    assert laws.more_than_names('"""Doc."""\nfrom a import b\n__all__ = ["b"]\n') == []
    assert laws.more_than_names("from a import b\nb()\n")
    assert laws.more_than_names("VERBOSE = True\n")
    assert laws.more_than_names("class A: ...\n")


@pytest.mark.parametrize(("module", "source"), FOREIGN)
def test_an_import_of_another_family_is_found(module, source):
    assert laws.foreign_families(source, module)


@pytest.mark.parametrize(("module", "source"), OWN)
def test_imports_of_the_own_family_pass(module, source):
    assert laws.foreign_families(source, module) == []


def test_fields_with_rows_that_lack_the_mark_are_found() -> None:
    source = """
        class State:
            u: Float[Tensor, "n dim"] = field(metadata=ROW)
            past: Float[Tensor, "n steps ..."] | None = field(default=None, metadata=ROW)
            score: Float[Tensor, " n"]
            alive: Bool[Tensor, " n"] | None = None
            basis: Float[Tensor, "dim n"]
            rng: Rng
        class Unmarked:
            u: Float[Tensor, "n dim"]
    """
    assert laws.unmarked_rows(textwrap.dedent(source)) == ["line 5: score", "line 6: alive"]


def test_a_circle_is_found_also_inside_functions_and_through_names() -> None:
    sources = {
        "zmax.a": "from zmax.b import x",
        "zmax.b": "def f():\n    from zmax import c",
        "zmax.c": "import zmax.a",
    }
    assert circles(sources) == [{"zmax.a", "zmax.b", "zmax.c"}]
    assert circles({**sources, "zmax.c": "import math"}) == []
