"""torch.compile: the network as one program for the device at hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import WeakKeyDictionary

from pipelines.accelerators import Accelerator, accelerators
from pipelines.errors import StudioError
from pipelines.knobs import knob
from pipelines.types import tallied

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Compiler = Annotated[
    Literal["off", "inductor", "aot_eager"],
    *knob(
        "Compiler", "inductor writes code for the device and needs a C++ compiler; aot_eager traces and writes none."
    ),
]
SIZES = 64  # programs of one network, one for each size of picture
twins: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


@accelerators.register("compile")
class Compiled(Accelerator):
    """The network as one program, made in a minute when a size is first asked for.

    It is kept while the model stays in memory, and stands aside for adapters and for accelerators that change the
    network. Ansel et al. 2024, "PyTorch 2" (doi:10.1145/3620665.3640366).
    """

    title = "torch.compile"
    off = {"compiler": "off"}

    compiler: Compiler = "inductor"

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        whole = run.spec and run.memory.found(run.spec.net)
        # what an inpainting network reads beside is not known here
        if self.compiler == "off" or run.spec is None or run.spec.inpaints or not (whole and whole.is_whole):
            yield predict
            return
        predictor = run.spec.predictor

        def compiled(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            if not is_bare(run.net):
                return predict(x, sigma, conds)
            run.memory.check()  # nobody watches the blocks of the program
            return asked(tallied(predictor(twin(run.net, self.compiler)), run.memory), x, sigma, conds)

        yield compiled


def asked(quick: Predict, x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
    """What the program answers. Raises StudioError where there can be none."""
    import torch
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    try:
        with torch._dynamo.config.patch(recompile_limit=SIZES):  # type: ignore[attr-defined]
            return quick(x, sigma, conds)
    except (BackendCompilerFailed, InductorError) as error:
        why = str(error).strip().splitlines()[0][:200]
        raise StudioError(f"torch.compile cannot compile this model here; paint without it. It says: {why}") from None


def twin(net: Any, compiler: str) -> Any:
    """A network of the same weights without what watches or changes the first, and compiled; the same at each call."""
    import torch

    known = twins.setdefault(net, {})
    if compiler not in known:
        shared = {id(each): each for each in chain(net.parameters(), net.buffers())}
        made = copy.deepcopy(net, shared)
        for module in made.modules():
            for hooks in (module._forward_hooks, module._forward_pre_hooks):
                hooks.clear()
        made.forward = torch.compile(made.forward, backend=compiler, dynamic=False)
        known[compiler] = made
    return known[compiler]


def is_bare(net: Any) -> bool:
    """Whether nobody changes what the network computes; hooks before its blocks only watch."""
    for module in net.modules():
        own = vars(module)
        if own["_forward_hooks"] or "forward" in own:
            return False
        if "processor" in own and not type(own["processor"]).__module__.startswith("diffusers."):
            return False
    return True
