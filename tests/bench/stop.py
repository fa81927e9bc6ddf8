"""From a stop to a free lane, in steps of the job that is stopped: in the walk, in the decoder, and while queued.

python -m tests.bench.stop [--model pocket] [--stops 20]
"""

import argparse
import statistics
import time
from itertools import pairwise

from pipelines.device import Device
from pipelines.events import Progress, Stage
from pipelines.memory import Memory
from pipelines.runner import Runner
from pipelines.tasks.text_to_image import TextToImage
from pipelines.warming import settle


def stopped_after(runner: Runner, model: str, steps: int, decoding: bool = False) -> tuple[float, float]:
    """Seconds from the stop to the ending, and seconds of a step of that job."""
    job = runner.submit(TextToImage(model=model, prompt="a panda in the snow", steps=60 if not decoding else 3))
    seen: list[float] = []
    for event in job.events(timeout=120):
        if isinstance(event, Progress):
            seen.append(time.perf_counter())
        if (decoding and isinstance(event, Stage) and event.text == "Decoding") or (
            not decoding and len(seen) == steps
        ):
            break
    begun = time.perf_counter()
    runner.stop(job)
    list(job.events(timeout=120))
    step = statistics.median(b - a for a, b in pairwise(seen)) if len(seen) > 1 else 0.0
    return time.perf_counter() - begun, step


def waiting_stopped_after(runner: Runner, model: str) -> float:
    """Seconds from the stop of a queued job to its ending."""
    first, second = (runner.submit(TextToImage(model=model, steps=40)) for _ in range(2))
    begun = time.perf_counter()
    runner.stop(second)
    list(second.events(timeout=10))
    took = time.perf_counter() - begun
    runner.stop(first)
    list(first.events(timeout=60))
    return took


def main() -> None:
    """Print medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--stops", type=int, default=20)
    asked = parser.parse_args()
    settle()  # as the studio does when it starts
    runner = Runner(lambda: Memory(Device("cpu")))
    stopped_after(runner, asked.model, 5)
    walks = [stopped_after(runner, asked.model, 4 + k % 5) for k in range(asked.stops)]
    took, steps = ([each[i] for each in walks] for i in (0, 1))
    print(
        f"walking: median {statistics.median(took) * 1000:.0f} ms, worst {max(took) * 1000:.0f} ms; a step takes {statistics.median(steps) * 1000:.0f} ms"
    )
    decodes = [stopped_after(runner, asked.model, 3, decoding=True)[0] for _ in range(5)]
    print(f"decoding: median {statistics.median(decodes) * 1000:.0f} ms, worst {max(decodes) * 1000:.0f} ms")
    queued = [waiting_stopped_after(runner, asked.model) for _ in range(5)]
    print(f"queued: median {statistics.median(queued) * 1000:.2f} ms, worst {max(queued) * 1000:.2f} ms")
    runner.close()


if __name__ == "__main__":
    main()
