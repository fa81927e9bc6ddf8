"""How often the built-in model knows by its own errors what a drawn scene shows. SYSTEMS.md A57.

python -m tests.quality.recognition --count 40
"""

import argparse
import random

import torch

from pipelines.memory import Memory
from pipelines.models import ModelSpec, models
from pipelines.painting import encoded
from pipelines.pictures import to_pixels
from pipelines.training.scenes import Backdrop, Item, Scene, colours, draw, things
from pipelines.verifiers.classifier import recognised


@torch.inference_mode()
def accuracy(
    spec: ModelSpec, memory: Memory, count: int, among: int = 11, ask: str = "backdrop", seed: int = 5
) -> float:
    """The share of `count` drawn scenes whose backdrop, or thing, is told from `among` - 1 others."""
    chance, right = random.Random(seed), 0
    for _ in range(count):
        thing, backdrop = chance.choice(list(things)), chance.choice(list(colours))
        answer, every = (backdrop, colours) if ask == "backdrop" else (thing, things)
        names = [answer, *chance.sample([each for each in every if each != answer], among - 1)]
        prompts = [f"a {thing} on {name}" if ask == "backdrop" else f"a {name} on {backdrop}" for name in names]
        scene = Scene((Item(thing, 0.5, 0.5, "big", 0.55),), Backdrop(backdrop, chance.randrange(1000)))
        picture = draw(scene, spec.side, spec.side)
        conds = [encoded(spec, memory, prompt) for prompt in prompts]
        with memory.use(spec.vae) as vae:
            latents = spec.encode(vae, to_pixels(picture))
        with memory.use(spec.net) as net:
            right += recognised(spec.predictor(net), latents, conds, spec) == 0
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--among", type=int, default=11)
    parser.add_argument("--ask", choices=["backdrop", "thing"], default="backdrop")
    asked = parser.parse_args()
    share = accuracy(models["pocket"], Memory(), asked.count, asked.among, asked.ask)
    print(f"{asked.ask} of {asked.among}: {share:.0%} of {asked.count}")


if __name__ == "__main__":
    main()
