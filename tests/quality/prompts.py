"""Held-out prompts by a fixed draw, each with what a picture of it must show. Knows the world's grammar, no model."""

from dataclasses import dataclass
from random import Random

from pipelines.training.captions import COLOUR_PHRASES, NUMBERS, POSITIONS, SIZE_WORDS
from pipelines.training.scenes import Size, colours, kept_apart_pairs, places, things

FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Exercise:
    """A prompt, its seed, and what to look for; what is None or empty was not asked for."""

    kind: str
    prompt: str
    seed: int
    things: tuple[str, ...]
    backdrop: str
    count: int  # of things in the picture
    position: str | None = None  # of the only thing
    size: Size | None = None  # of the only thing
    order: str | None = None  # of two things: the first is "left" of or "above" the second


def exercises(count: int) -> list[Exercise]:
    """The first `count` exercises, always the same: two of five of one thing, the rest in equal parts pairs, kept-apart
    pairs and two or three things."""
    made = []
    for k in range(count):
        rng = Random(f"exercise {k}")
        turn = (k * 0.618034) % 1
        kind = "single" if turn < 0.4 else "pair" if turn < 0.6 else "kept_apart" if turn < 0.8 else "count"
        made.append({"single": single, "count": several}.get(kind, pair)(rng, kind, FIRST_SEED + k))
    return made


def backdrop(rng: Random) -> tuple[str, str]:
    """A colour or a place, and words for it."""
    if rng.random() < 0.4:
        name = rng.choice(list(colours))
        return name, rng.choice(COLOUR_PHRASES).format(name).replace("a orange", "an orange")
    name = rng.choice(list(places))
    return name, rng.choice(places[name].phrases)


def article(noun: str) -> str:
    """The noun with a or an."""
    return f"{'an' if noun[0] in 'aeiou' and not noun.startswith('uni') else 'a'} {noun}"


def single(rng: Random, kind: str, seed: int) -> Exercise:
    """One thing; half of them with a position, half with a size."""
    name, (where, words) = rng.choice(list(things)), backdrop(rng)
    position = rng.choice(list(POSITIONS)) if rng.random() < 0.5 else None
    size: Size | None = rng.choice(("small", "big")) if rng.random() < 0.5 else None
    noun = article(f"{rng.choice(SIZE_WORDS[size])} {name}" if size else name)
    said = [noun, *([rng.choice(POSITIONS[position])] if position else []), words]
    return Exercise(kind, " ".join(said), seed, (name,), where, 1, position, size)


def pair(rng: Random, kind: str, seed: int) -> Exercise:
    """Two things, in half of the prompts with their order; a kept-apart pair was never seen together in training."""
    if kind == "kept_apart":
        names = rng.sample(rng.choice(sorted(sorted(pair) for pair in kept_apart_pairs)), 2)
    else:
        names = rng.sample(list(things), 2)
        while frozenset(names) in kept_apart_pairs:
            names = rng.sample(list(things), 2)
    where, words = backdrop(rng)
    form, order = rng.choice((("{} and {}", None), ("{} next to {}", None), ("{} to the left of {}", "left"),
                              ("{} above {}", "above")))  # fmt: skip
    prompt = form.format(*map(article, names)) + " " + words
    return Exercise(kind, prompt, seed, tuple(names), where, 2, order=order)


def several(rng: Random, kind: str, seed: int) -> Exercise:
    """Two or three of one thing, or three different things."""
    where, words = backdrop(rng)
    if rng.random() < 0.25:
        names = rng.sample(list(things), 3)
        prompt = "{}, {} and {} ".format(*map(article, names)) + words
        return Exercise(kind, prompt, seed, tuple(names), where, 3)
    name, number = rng.choice(list(things)), rng.choice((2, 3))
    return Exercise(kind, f"{NUMBERS[number][0]} {things[name].plural} {words}", seed, (name,), where, number)
