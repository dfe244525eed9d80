"""Questions that are made anew of words: letters, order, rhymes, what is of a kind, short texts."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from .word_lists import groups

Item = tuple[str, tuple[str, ...]]
"""What stands in a task's question, and the answers that count."""

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
KINDS: Final = (
    "a fruit",
    "a vegetable",
    "a mammal",
    "a bird",
    "a fish",
    "a colour",
    "a piece of clothing",
    "a tool",
    "a musical instrument",
    "a piece of furniture",
    "a vehicle",
    "an occupation",
    "a kind of weather",
    "a tree",
    "a flower",
    "a part of the body",
    "a metal",
    "a shape",
)
"""What the groups of `word_groups.txt` are, in their order."""
_NAMES: Final = (
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Ida",
    "Jack",
    "Kate",
    "Leo",
    "Mary",
    "Nick",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
)
_THINGS: Final = (
    "bicycle",
    "lamp",
    "kettle",
    "violin",
    "jacket",
    "radio",
    "camera",
    "clock",
    "basket",
    "mirror",
    "kite",
    "tent",
)
_PLACES: Final = ("kitchen", "garden", "cellar", "attic", "garage", "office", "library", "barn", "hall", "bedroom")
_COLOURS: Final = ("red", "blue", "green", "yellow", "black", "white", "brown", "purple")


def _words() -> list[str]:
    return sorted({word for group in groups("group") for word in group if len(word) > 3})


def first_letter(draw: Random) -> Item:
    """Ask with which letter a word begins."""
    word = draw.choice(_words())
    return word, (word[0],)


def neighbour(draw: Random) -> Item:
    """Ask for a day or month beside another."""
    names = draw.choice((_DAYS, _MONTHS, _MONTHS))
    place, (away, words) = (
        draw.randrange(len(names)),
        draw.choice(((1, "comes after"), (-1, "comes before"), (2, "is two after"), (-2, "is two before"))),
    )
    kind = "day" if names is _DAYS else "month"
    return f"{kind} {words} {names[place]}", (names[(place + away) % len(names)],)


def choice(draw: Random) -> Item:
    """Ask which of three words is of a kind."""
    here, *others = draw.sample(list(zip(KINDS, groups("group"), strict=True)), 3)
    right = draw.choice([word for word in here[1] if not any(word in other[1] for other in others)])
    words = [right, *(draw.choice([word for word in other[1] if word not in here[1]]) for other in others)]
    draw.shuffle(words)
    return f"{', '.join(words[:2])} or {words[2]} is {here[0]}", (right,)


def rhyme(draw: Random) -> Item:
    """Ask which of three words rhymes with another."""
    here, *others = draw.sample(groups("rhyme"), 3)
    word, right = draw.sample(here, 2)
    words = [right, *(draw.choice(other) for other in others)]
    draw.shuffle(words)
    return f"{', '.join(words[:2])} or {words[2]} rhymes with {word}", (right,)


def alphabet(draw: Random) -> Item:
    """Ask which of three words comes first in the alphabet."""
    words = draw.sample(_words(), 3)
    return ", ".join(words), (min(words),)


def spelling(draw: Random) -> Item:
    """Ask for the right spelling of a word in which two letters changed places or one is missing."""
    word = draw.choice([word for word in _words() if len(word) > 5])
    place = draw.randrange(1, len(word) - 2)
    wrong = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if draw.random() < 0.5 or wrong == word:
        wrong = word[:place] + word[place + 1 :]
    return wrong, (word,)


def _scene(draw: Random) -> list[tuple[str, str, str, str]]:
    """Return who put a thing of which colour where, twice."""
    columns = (draw.sample(each, 2) for each in (_NAMES, _COLOURS, _THINGS, _PLACES))
    return list(zip(*columns, strict=True))


def _told(scene: list[tuple[str, str, str, str]]) -> str:
    return " ".join(f"{who} left the {colour} {thing} in the {place}." for who, colour, thing, place in scene)


def extraction(draw: Random) -> Item:
    """Ask for a name, colour or place that stands in a short text."""
    scene = _scene(draw)
    who, colour, thing, place = draw.choice(scene)
    question, answer = draw.choice(
        (
            (f"Who left something in the {place}?", who),
            (f"What colour is the {thing}?", colour),
            (f"Where is the {thing}?", place),
        )
    )
    return f"{_told(scene)} {question}", (answer, f"in the {place}") if answer == place else (answer,)


def yes_or_no(draw: Random) -> Item:
    """Ask whether something is so in a short text."""
    scene, said = _scene(draw), draw.random() < 0.5
    first, second = draw.sample(scene, 2)
    colour, thing, place = first[1], first[2], first[3] if said else second[3]
    return f"{_told(scene)} Is the {colour} {thing} in the {place}?", ("yes" if said else "no",)


MAKERS: Final[dict[str, Callable[[Random], Item]]] = {
    "first letter": first_letter,
    "neighbour": neighbour,
    "choice": choice,
    "rhyme": rhyme,
    "alphabet": alphabet,
    "spelling": spelling,
    "extraction": extraction,
    "yes or no": yes_or_no,
}


def made(task: str, draw: Random) -> Iterator[Item]:
    """Yield different questions of a task without end; a task of which there are no more repeats itself."""
    seen: set[str] = set()
    while True:
        for _ in range(200):
            item = MAKERS[task](draw)
            if item[0] not in seen:
                break
        seen.add(item[0])
        yield item
