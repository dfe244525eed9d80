"""Make prompts.json: the prompts of the run set, each with its class, its group and, for questions, its answers.

    pip install reasoning-gym==0.1.25 && PYTHONHASHSEED=0 python benchmarks/runset/prompts.py

Prompts of one group share a template or a topic and stay on one side of the split. No country capitals and no plain
arithmetic: those are kept unseen. `questions.txt` is our own list, one `question | answer / other answer` a line;
`topics.txt` holds the lists that the templates below take. reasoning-gym iterates over sets: hence the hash seed.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

Prompt = dict[str, Any]


def topics() -> dict[str, list[str]]:
    """Return what the prompts are about: the lists of topics.txt, by their headings."""
    lists: dict[str, list[str]] = {}
    for block in (HERE / "topics.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        heading, *items = block.splitlines()
        lists[heading.strip("[]")] = items
    return lists


TOPICS = topics()


def chat(text: str, *before: tuple[str, str]) -> list[dict[str, str]]:
    """Return the messages of a chat, with earlier turns."""
    messages = []
    for said, answered in before:
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
    return [*messages, {"role": "user", "content": text}]


def long_answers() -> Iterator[Prompt]:
    """Yield prompts that ask for a long answer."""
    families = {
        "history": [f"Tell me everything about the history of {what}, in great detail." for what in TOPICS["subjects"]],
        "story": [f"Write a long story about {character}." for character in TOPICS["characters"]],
        "how": [f"Explain to a curious teenager how {thing} works." for thing in TOPICS["things"]],
        "essay": [f"Write an essay about {value}, as long as you can." for value in TOPICS["values"]],
        "scene": [f"Describe {scene} with all your senses." for scene in TOPICS["scenes"]],
        "task": TOPICS["tasks"],
    }
    for family, texts in families.items():
        for number, text in enumerate(texts):
            yield {"class": "long", "task": family, "group": f"{family}-{number}", "messages": chat(text)}


def free_running() -> Iterator[Prompt]:
    """Yield beginnings that the model continues without a chat template."""
    for number, text in enumerate(TOPICS["openings"]):
        yield {"class": "free", "task": "continue", "group": f"opening-{number}", "text": text}
        yield {"class": "free", "task": "continue", "group": f"opening-{number}", "text": f"{text} a"}


def repetition() -> Iterator[Prompt]:
    """Yield prompts that ask for repetition: alone, or after a turn that shows how such an answer ends."""
    yield from repeated_words()
    lists = (f"Write a numbered list of {count} {{}}, without explanations." for count in (10, 20))
    yield from repeated_forms("list", "lists", *lists)
    tables = "Write a Markdown table of {}.", "Write a CSV table with a header, of {}. Only the table."
    yield from repeated_forms("table", "tables", *tables)
    code = "Write a Python program that {}.", "Write Python code that {}. No explanation, only code."
    yield from repeated_forms("code", "code", *code)
    yield from repeated_counts()
    arrays = (f"Write a JSON array of {count} {{}}. Only the JSON." for count in (5, 8))
    yield from repeated_forms("json", "json_arrays", *arrays)
    songs = "Write a song about {} with four verses and the same refrain after each."
    rhymes = "Write a nursery rhyme about {} in which every second line is the same."
    yield from repeated_forms("refrain", "songs", songs, rhymes)


def repeated_words() -> Iterator[Prompt]:
    """Yield prompts to say a word or a phrase so many times."""
    for number, word in enumerate(TOPICS["words"]):
        group = f"word-{number}"
        for times in (3, 5, 8, 12):
            text = 'Write the word "{}" {} times, one per line, and nothing else.'
            shown = (text.format("moon", times), "\n".join(["moon"] * times))
            yield asked("word", group, text.format(word, times), shown if times % 2 == 0 else None)
        for text, answer in (
            ('Repeat "{}" six times, separated by commas.', ", ".join(["sun"] * 6)),
            ('Repeat "{}" twenty times, separated by spaces.', " ".join(["sun"] * 20)),
        ):
            yield asked("word", group, text.format(word), (text.format("sun"), answer))
    for number, phrase in enumerate(TOPICS["phrases"]):
        for times in (4, 6, 10):
            text = f'Say "{phrase}" {times} times.'
            shown = (f'Say "Time flies" {times} times.', "\n".join(["Time flies"] * times))
            yield asked("phrase", f"phrase-{number}", text)
            yield asked("phrase", f"phrase-{number}", text, shown)


def repeated_forms(task: str, topic: str, *texts: str) -> Iterator[Prompt]:
    """Yield prompts for text that repeats its form."""
    group = {"refrain": "song"}.get(task, task)
    for number, what in enumerate(TOPICS[topic]):
        for text in texts:
            yield asked(task, f"{group}-{number}", text.format(what))


def repeated_counts() -> Iterator[Prompt]:
    """Yield prompts to count."""
    counts = ("from 1 to 20", "from 1 to 30", "from 10 down to 1", "from 5 to 25", "from 30 to 60", "from 100 to 120")
    for number, what in enumerate(counts):
        for way in ("separated by commas", "one per line", "separated by spaces", "each followed by a full stop"):
            shown = (f"Count from 1 to 12, {way}.", counted(range(1, 13), way))
            yield asked("count", f"count-{number}", f"Count {what}, {way}.", shown)
            if way in ("separated by commas", "one per line"):
                yield asked("count", f"count-{number}", f"Count {what}, {way}.")


def counted(numbers: range, way: str) -> str:
    """Return numbers written in the way that is asked for."""
    joint = {"separated by commas": ", ", "one per line": "\n", "separated by spaces": " "}.get(way, ". ")
    return joint.join(map(str, numbers)) + ("." if joint == ". " else "")


def asked(task: str, group: str, text: str, shown: tuple[str, str] | None = None) -> Prompt:
    """Return a prompt that asks for repetition."""
    return {"class": "repeat", "task": task, "group": group, "messages": chat(text, *([shown] if shown else []))}


def questions() -> Iterator[Prompt]:
    """Yield our own general-knowledge questions."""
    for number, line in enumerate((HERE / "questions.txt").read_text(encoding="utf-8").splitlines()):
        question, answers = line.split(" | ")
        text = f"{question} Answer in a few words."
        yield {"class": "short", "task": "knowledge", "group": f"knowledge-{number}", "messages": chat(text),
               "answers": answers.split(" / ")}  # fmt: skip


GYM = {
    "spell_backward": {"min_word_len": 3, "max_word_len": 4},
    "letter_counting": {"min_words": 2, "max_words": 4},
    "word_sorting": {"min_words": 3, "max_words": 3, "min_word_length": 3, "max_word_length": 6},
    "word_sequence_reversal": {"min_words": 3, "max_words": 4},
    "ransom_note": {"min_note_length": 1, "max_note_length": 4, "min_magazine_length": 2, "max_magazine_length": 10},
    "isomorphic_strings": {"min_string_length": 2, "max_string_length": 4},
    "family_relationships": {"min_family_size": 4, "max_family_size": 4},
    "syllogism": {},
    "needle_haystack": {"min_num_statements": 3, "max_num_statements": 6},
    "binary_alternation": {"min_n": 3, "max_n": 6},
}


def gymnastics(each: int = 24) -> Iterator[Prompt]:
    """Yield short tasks of reasoning-gym (Apache-2.0), none of them arithmetic."""
    import reasoning_gym

    for task, options in GYM.items():
        for number, entry in enumerate(reasoning_gym.create_dataset(task, size=each, seed=20261123, **options)):
            text = f"{entry['question'].strip()}\nGive only the answer."
            yield {"class": "short", "task": task, "group": f"{task}-{number}", "messages": chat(text),
                   "answers": [str(entry["answer"]).strip()]}  # fmt: skip


def main() -> None:
    """Write prompts.json."""
    prompts = [*long_answers(), *free_running(), *repetition(), *questions(), *gymnastics()]
    random.Random(0).shuffle(prompts)
    for number, prompt in enumerate(prompts):
        prompt["id"] = number
    lines = ",\n".join(json.dumps(prompt, ensure_ascii=False, sort_keys=True) for prompt in prompts)
    (HERE / "prompts.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    counts: dict[str, int] = {}
    for prompt in prompts:
        counts[f"{prompt['class']} {prompt['task']}"] = counts.get(f"{prompt['class']} {prompt['task']}", 0) + 1
    print(len(prompts), json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
