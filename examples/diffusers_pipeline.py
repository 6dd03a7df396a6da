"""A pipeline of diffusers: search the noise of one prompt, by gradients through the pipeline and as a black box.

With a pipeline of your own: `pipe = StableDiffusionPipeline.from_pretrained(FOLDER)`.
"""

import zmax
from zmax.testing import tiny_pipeline

BUDGET = 64  # score calls


def warmth(images):
    return (images[:, 0] - images[:, 2]).mean((1, 2))


def main() -> None:
    pipe = tiny_pipeline("stable-diffusion")  # random weights: it runs in milliseconds, and draws nothing
    G = zmax.generators.from_diffusers(pipe, prompt="a red hat", num_inference_steps=4, guidance_scale=5.0)
    S = zmax.score(warmth, differentiable=True)
    print(f"{G.name}: {G.space.dim} numbers of noise")
    for method in ("random", "gradient", "snes"):
        result = zmax.maximize(G, S, method=method, budget=BUDGET, seed=0)
        print(f"{method:8} warmth {result.best.score:.3f} after {result.ledger.nfe} evaluations of the network")


if __name__ == "__main__":
    main()
