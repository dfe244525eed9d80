"""What SmolLM2 is asked: half as text to go on with after three solved questions, half through its chat template."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final

from zoo.prompts import Prompt

from .asking import Asked
from .made_questions import MAKERS, Item, made
from .word_lists import facts

SHOTS: Final = 3
"""Solved questions before a text to go on with."""
MORE: Final = 8
"""Made questions beyond those that are asked, to be solved before them."""
LIMITS: Final = {"stopped": 24, "unstopped": 14, "chat": 16, "sentence": 28}
"""Form -> most new tokens."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task in one form: the words of its question, and how it is graded."""

    name: str
    form: str
    question: str
    grade: str = "short"
    source: str = ""
    """Section of `words.txt` where it is not the task's name."""
    shots: int = 0
    """Solved questions before it in a conversation; before a text there are always `SHOTS`."""


TASKS: Final = (
    Task("opposite", "unstopped", "What is the opposite of {}?"),
    Task("kind", "chat", "What kind of animal is a {}? Answer in a few words.", "contains", shots=3),
    Task("past", "unstopped", "What is the past tense of {}?"),
    Task("colour", "chat", "What colour is {}? Answer in a few words.", "contains", shots=2),
    Task("author", "sentence", "Write one sentence that says who wrote {}.", "contains"),
    Task("plural", "stopped", "What is the plural of {}?"),
    Task("element", "chat", "Which chemical element has the symbol {}? Answer in a few words.", "contains", "symbol"),
    Task("choice", "unstopped", "Which of {}?"),
    Task("extraction", "chat", "{} Answer in a few words.", "contains", shots=1),
    Task("symbol", "stopped", "What is the chemical symbol of {}?"),
    Task("field", "chat", "In which field of science did {} work? Answer in a few words.", "contains"),
    Task("author", "unstopped", "What is the last name of the author of {}?"),
    Task("yes or no", "chat", "{} Answer yes or no.", "begins", shots=4),
    Task("rhyme", "unstopped", "Which of {}?"),
    Task("spanish", "chat", 'How do you say "{}" in Spanish? Answer in a few words.', "contains"),
    Task("neighbour", "unstopped", "Which {}?"),
    Task("kind", "sentence", "Write one sentence that says what kind of animal a {} is.", "contains"),
    Task("first letter", "stopped", "What is the first letter of {}?"),
    Task("colour", "stopped", "What colour is {}?"),
    Task("extraction", "unstopped", "{}"),
    Task("opposite", "chat", 'What is the opposite of "{}"? Answer in a few words.', "contains"),
    Task("alphabet", "unstopped", "Which comes first in the alphabet: {}?"),
    Task("synonym", "chat", 'What is another word for "{}"? Answer in a few words.', "contains"),
    Task("spelling", "chat", "Correct the spelling of this word: {}. Answer with the word alone.", "contains", shots=1),
    Task("french", "unstopped", "What is {} in French?"),
    Task("person", "chat", "What is the job or name of someone who {}? Answer in a few words.", "contains", shots=2),
    Task("kind", "unstopped", "What kind of animal is a {}?"),
    Task("past", "chat", 'What is the past tense of "{}"? Answer in a few words.', "contains"),
    Task("young", "unstopped", "What is a young {} called?"),
    Task("german", "stopped", "What is {} in German?"),
)
"""Task and form, in the order in which they are asked."""


def questions(each: int, seed: int) -> list[Asked]:
    """Return so many questions of every task and form; fewer where there are not so many facts."""
    found: list[Asked] = []
    for place, task in enumerate(TASKS):
        draw = Random(1000 * seed + place)
        items = list(islice(_items(task, draw), each + (MORE if task.name in MAKERS else 0)))
        for item in items[:each]:
            number = 1 + len(found)
            prompt = _prompt(task, item, items, draw)
            found.append(Asked(number, task.name, task.form, prompt, item[1], task.grade, LIMITS[task.form]))
    return found


def _items(task: Task, draw: Random) -> Iterator[Item]:
    if task.name in MAKERS:
        yield from made(task.name, draw)
        return
    known = list(facts(task.source or task.name))
    if task.name == "element":
        known = [(answers[0], (name,)) for name, answers in known]
    if task.grade == "contains":  # what the question says already would count as an answer
        known = [(asked, answers) for asked, answers in known if asked not in answers]
    draw.shuffle(known)
    yield from known


def _prompt(task: Task, item: Item, items: list[Item], draw: Random) -> Prompt:
    question = task.question.format(item[0])
    talked = task.form in ("chat", "sentence")
    others = draw.sample([other for other in items if other[0] != item[0]], task.shots if talked else SHOTS)
    if talked:
        turns = [(task.question.format(asked), answers[0].capitalize() + ".") for asked, answers in others]
        said = [(("user", user), ("assistant", assistant)) for user, assistant in turns]
        messages = [*(turn for pair in said for turn in pair), ("user", question)]
        return Prompt(task.name, "", tuple({"role": role, "content": content} for role, content in messages))
    solved = [f"Q: {task.question.format(asked)}\nA: {answers[0]}" for asked, answers in others]
    return Prompt(task.name, "\n\n".join([*solved, f"Q: {question}\nA:"]))
