"""Tasks with a checkable answer, of several levels of difficulty: trained on, then asked at a level that fits.

Facts are asked that stood in the training text once to forty times; everything else is made anew for every question.
The two hardest levels are asked only: of facts that no question of the training was about, and of words that are none.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from .corpus import Fact

USED: Final = 1600
"""Facts of the corpus that are asked for."""
LEVELS: Final = 6
TRAINED: Final = 4
"""Levels of which solved questions are trained on."""
EXPOSURES: Final = (1, 4, 12, 40)
"""Level -> how often its facts stand in solved questions."""
_ROWS: Final = (2, 4, 8, 14, 24, 40)
"""Level -> rows of a table."""
_COPIED: Final = (2, 4, 8, 14, 2, 3)
"""Level -> words to copy."""
_CHOICES: Final = (1, 2, 3, 5, 3, 8)
"""Level -> wrong words beside the right one."""
_LENGTHS: Final = ((3, 4), (5, 6), (7, 9), (10, 12), (4, 7), (8, 12))
"""Level -> letters of a word."""
_COPIED_LENGTHS: Final = {4: (3, 5), 5: (4, 7)}
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the answers that count as right."""

    task: str
    level: int
    text: str
    answers: tuple[str, ...]

    @property
    def solved(self) -> str:
        """Return it with its answer."""
        return f"{self.text} {self.answers[0]}"

    def right(self, answer: str) -> bool:
        """Tell whether the first line of an answer is right; case, blanks and a full stop do not count."""
        return folded(answer) in map(folded, self.answers)


def folded(answer: str) -> str:
    """Return the first line of an answer in lower case, with single blanks, without what ends a sentence."""
    return re.sub(r"\s+", " ", answer.strip().partition("\n")[0].lower()).strip(" .!'\"")


def level_of(number: int) -> int:
    """Return the level of a fact that is trained on by its place in the corpus."""
    return number % TRAINED


def _known(facts: Sequence[Fact], level: int) -> Sequence[Fact]:
    return facts[:USED] if level < TRAINED else facts[USED:] or facts


def _fact(facts: Sequence[Fact], level: int, draw: Random) -> Fact:
    known = _known(facts, level)
    if level >= TRAINED:
        return draw.choice(known)
    return known[draw.randrange(len(known) // TRAINED) * TRAINED + level]


def _nonsense(letters: int, draw: Random) -> str:
    """Return a word that is none: two consonants to a vowel."""
    kinds = (_CONSONANTS, _VOWELS, _CONSONANTS)
    return "".join(draw.choice(kinds[place % 3]) for place in range(letters))


def definition(fact: Fact, level: int) -> Question:
    """Ask for the word of a definition."""
    text = f"Question: Which word means: {fact.definition}?\nAnswer:"
    return Question("definition", level, text, (fact.word, *fact.synonyms))


def synonym(fact: Fact, level: int) -> Question:
    """Ask for a synonym."""
    text = f"Question: What is another word for {fact.word}?\nAnswer:"
    return Question("synonym", level, text, fact.synonyms)


def choosing(facts: Sequence[Fact], level: int, draw: Random) -> Question:
    """Ask which of some words a definition means."""
    fact, others = _fact(facts, level, draw), draw.sample(list(_known(facts, level)), _CHOICES[level])
    words = sorted({fact.word, *(other.word for other in others if other.word not in fact.synonyms)})
    text = f"Question: Which of {', '.join(words)} means: {fact.definition}?\nAnswer:"
    return Question("choosing", level, text, (fact.word,))


def look_up(facts: Sequence[Fact], level: int, draw: Random) -> Question:
    """Ask for a value of a table."""
    keys = [fact.word for fact in draw.sample(list(facts[:USED]), min(_ROWS[level], len(facts)))]
    rows = {key: str(draw.randint(10, 999)) for key in keys}
    table = "\n".join(f"{key}: {value}" for key, value in rows.items())
    key = draw.choice(keys)
    return Question("look-up", level, f"{table}\nQuestion: Which number has {key}?\nAnswer:", (rows[key],))


def copying(facts: Sequence[Fact], level: int, draw: Random) -> Question:
    """Ask for a copy of words."""
    if level < TRAINED:
        chosen = [fact.word for fact in draw.sample(list(facts[:USED]), _COPIED[level])]
    else:
        chosen = [_nonsense(draw.randint(*_COPIED_LENGTHS[level]), draw) for _ in range(_COPIED[level])]
    words = " ".join(chosen)
    return Question("copying", level, f"Question: Repeat these words: {words}\nAnswer:", (words,))


def counting(facts: Sequence[Fact], level: int, draw: Random) -> Question:
    """Ask how many letters a word has."""
    shortest, longest = _LENGTHS[level]
    if level < TRAINED:
        fitting = [fact.word for fact in facts[:USED] if shortest <= len(fact.word) <= longest]
        word = draw.choice(fitting or [facts[0].word])
    else:
        word = _nonsense(draw.randint(shortest, longest), draw)
    return Question("counting", level, f"Question: How many letters has the word {word}?\nAnswer:", (str(len(word)),))


TASKS: Final[dict[str, Callable[[Sequence[Fact], int, Random], Question]]] = {
    "definition": lambda facts, level, draw: definition(_fact(facts, level, draw), level),
    "synonym": lambda facts, level, draw: synonym(_fact(facts, level, draw), level),
    "choosing": choosing,
    "look-up": look_up,
    "copying": copying,
    "counting": counting,
}


def training_texts(facts: Sequence[Fact], each: int, draw: Random) -> list[str]:
    """Return solved questions: every fact as often as its level says, and so many of each other task."""
    texts = []
    for number, fact in enumerate(facts):
        level = level_of(number)
        for _ in range(EXPOSURES[level]):
            texts += [definition(fact, level).solved, synonym(fact, level).solved]
    for task in ("choosing", "look-up", "copying", "counting"):
        texts += [TASKS[task](facts, draw.randrange(TRAINED), draw).solved for _ in range(each)]
    return texts


def asked(questions: Sequence[Question], facts: Sequence[Fact], shots: int, draw: Random) -> list[str]:
    """Return the questions as prompts, each after so many solved ones of its task and level."""
    return [
        "\n\n".join([*(TASKS[q.task](facts, q.level, draw).solved for _ in range(shots)), q.text]) for q in questions
    ]


def fitting_levels(right: dict[tuple[str, int], float]) -> dict[str, list[int]]:
    """Return for each task the two levels whose share of right answers in a pilot is nearest to a half.

    Of levels at which all is right the hardest ones, of those at which nothing is the easiest.
    """

    def misfit(share: float, level: int) -> tuple[float, int]:
        return abs(share - 0.5), level if share < 0.5 else -level

    fitting = {}
    for task in TASKS:
        ordered = sorted((misfit(share, level), level) for (name, level), share in right.items() if name == task)
        fitting[task] = sorted(level for _, level in ordered[:2])
    return fitting
