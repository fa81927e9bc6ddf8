"""Sentences for scenes: a small grammar of 3 to about 25 words. Knows words, not pixels."""

import string
from random import Random

from pipelines.training.backdrops import colours
from pipelines.training.landscapes import places
from pipelines.training.world import Item, Scene, things

OPENINGS = ("a picture of", "a photo of", "an image of", "a drawing of", "a painting of", "an illustration of",
            "a close up of", "a portrait of", "a view of", "there is", "we see")  # fmt: skip
PRAISE = ("cute", "beautiful", "lovely", "pretty", "nice", "funny", "happy", "shiny", "colorful", "wonderful",
          "single", "cartoon")  # fmt: skip
CLOSINGS = ("highly detailed", "best quality", "masterpiece", "high resolution", "sharp focus", "digital art",
            "trending", "professional", "soft light", "flat design", "cartoon style", "4k")  # fmt: skip
SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium", "normal"),
              "big": ("big", "large", "huge", "giant")}  # fmt: skip
COLOUR_PHRASES = ("on a {} background", "with a {} background", "on {}", "before a {} wall", "in front of a {} wall",
                  "against a {} backdrop")  # fmt: skip
POSITIONS = {
    "left": ("on the left", "at the left", "to the left", "on the left side"),
    "right": ("on the right", "at the right", "to the right", "on the right side"),
    "top": ("at the top", "on top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part", "below"),
    "middle": ("in the middle", "in the center", "in the centre"),
    "top left": ("at the top left", "in the top left corner", "in the upper left corner"),
    "top right": ("at the top right", "in the top right corner", "in the upper right corner"),
    "bottom left": ("at the bottom left", "in the bottom left corner", "in the lower left corner"),
    "bottom right": ("at the bottom right", "in the bottom right corner", "in the lower right corner"),
}
BESIDE = ("{0} and {1}", "{1} and {0}", "{0} next to {1}", "{1} next to {0}", "{0} beside {1}", "{0} with {1}",
          "{0} to the left of {1}", "{1} to the right of {0}", "{0} left of {1}", "{1} right of {0}",
          "{0} on the left and {1} on the right", "{1} on the right and {0} on the left",
          "on the left {0}, on the right {1}", "{0} on the left, {1} on the right")  # fmt: skip
ABOVE = ("{0} and {1}", "{1} and {0}", "{0} above {1}", "{1} below {0}", "{1} under {0}", "{0} over {1}",
         "{0} at the top and {1} at the bottom", "{1} at the bottom and {0} at the top")  # fmt: skip
THREE = ("{0}, {1} and {2}", "{0} and {1} and {2}", "{0}, {1}, {2}", "{2}, {0} and {1}", "{1} and {0} with {2}")
ROW = ("from left to right {0}, {1} and {2}", "{1} between {0} and {2}", "{0} next to {1} next to {2}")
NUMBERS = {2: ("two", "two", "2", "a pair of"), 3: ("three", "three", "3")}


def caption(scene: Scene, rng: Random) -> str:
    """A sentence that is true of the scene; what it leaves unsaid is free."""
    subject = _subject(scene.items, rng)
    place = _place(scene.backdrop.name, rng) if rng.random() < 0.85 else ""
    if place and rng.random() < 0.15:
        text = f"{place}, {subject}" if rng.random() < 0.5 else f"{place} {subject}"
    else:
        opened = rng.random() < 0.25 and not subject.startswith(("at ", "in ", "on ", "to ", "from ", "below "))
        opening = rng.choice(OPENINGS) + " " if opened else ""
        text = f"{opening}{subject} {place}".strip()
    for chance in (0.14, 0.04):
        if rng.random() < chance:
            text += ", " + rng.choice(CLOSINGS)
    return text + ("." if rng.random() < 0.05 else "")


def words() -> list[str]:
    """Every word that a caption can contain, sorted; made-up words are spelled and not among them."""
    named = [word for thing in things.values() for word in (thing.name, thing.plural, *thing.synonyms)]
    phrases = [phrase for place in places.values() for phrase in (place.name, *place.phrases)]
    tables = [OPENINGS, PRAISE, CLOSINGS, COLOUR_PHRASES, BESIDE, ABOVE, THREE, ROW, *POSITIONS.values(),
              *SIZE_WORDS.values(), *NUMBERS.values()]  # fmt: skip
    said = " ".join([*named, *phrases, *colours, "grey", "an", "one", *(line for table in tables for line in table)])
    letters = "".join(c if c in string.ascii_lowercase else " " for c in said)
    return sorted(set(letters.split()))


def _place(name: str, rng: Random) -> str:
    if name in places:
        return rng.choice(places[name].phrases)
    colour = "grey" if name == "gray" and rng.random() < 0.3 else name
    return (
        rng.choice(COLOUR_PHRASES[:2] if rng.random() < 0.5 else COLOUR_PHRASES)
        .format(colour)
        .replace("a orange", "an orange")
    )


def _subject(items: tuple[Item, ...], rng: Random) -> str:
    if len(items) == 1:
        return _alone(items[0], rng)
    if len({item.thing for item in items}) == 1:
        thing = things[items[0].thing]
        return " ".join([rng.choice(NUMBERS[len(items)]), *_praise(rng), thing.plural])
    nouns = [_noun(item, rng) for item in items]
    across = max(item.y for item in items) - min(item.y for item in items) < 0.15
    if len(items) == 2:
        return rng.choice(BESIDE if across else ABOVE).format(*nouns)
    return rng.choice(THREE + ROW if across else THREE).format(*nouns)


def _alone(item: Item, rng: Random) -> str:
    noun = _noun(item, rng)
    if rng.random() < (0.65 if item.position == "middle" else 0.25):
        return noun
    where = rng.choice(POSITIONS[item.position])
    return f"{where} {noun}" if rng.random() < 0.15 else f"{noun} {where}"


def _noun(item: Item, rng: Random) -> str:
    thing = things[item.thing]
    name = rng.choice(thing.synonyms) if thing.synonyms and rng.random() < 0.2 else thing.name
    spoken = rng.random() < (0.06 if item.size == "medium" else 0.92)
    size = [rng.choice(SIZE_WORDS[item.size])] if spoken else []
    described = [*size, *_praise(rng), name]
    draw = rng.random()
    if draw < 0.12:
        return " ".join(described)
    article = "the" if draw < 0.18 else "one" if draw < 0.21 else _article(described[0])
    return " ".join([article, *described])


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" and word != "unicorn" else "a"


def _praise(rng: Random) -> list[str]:
    draw = rng.random()
    if draw < 0.12:
        return [rng.choice(PRAISE)]
    if draw < 0.16:  # a made-up word, spelled in letters: the model learns to pass over what it does not know
        return ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 6)))]
    return []
