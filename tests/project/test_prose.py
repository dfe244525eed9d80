"""The prose of pages: what scripts/sentences.py counts, and what the checks of `make lint` find."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"

PAGE = """# A heading is no sentence

One two three. Four `code of three words` six!
seven (see [the page](other.md#some-anchor)), eight nine.

```sh
these are not words of a sentence
```

| no | table |
|---|---|

![no picture](a.png)

> No quotation. No other one.

- **A run-in heading.** One item, e.g. this.
- Another item with an end in 0.5 s and
  a second line
"""

PLAIN = (
    "CONTRIBUTING.md",
    "README.md",
    "docs/alerting.md",
    "docs/collector.md",
    "docs/integrations.md",
    "docs/opentelemetry.md",
    "docs/production-deployment.md",
    "docs/prompt-sets.md",
    "docs/receiver.md",
    "docs/store-reference.md",
    "docs/store.md",
    "docs/watch.md",
)
"""Pages that are written as CONTRIBUTING.md asks: add a page once it is."""


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("sentences")


def test_prose_alone_is_counted(sentences: ModuleType) -> None:
    found = sentences.sentences(PAGE)
    assert [sentences.words(each) for each in found] == [3, 9, 4, 12]
    assert found[2:] == ["One item, e.g. this.", "Another item with an end in 0.5 s and a second line"]
    assert sentences.length(PAGE) == sentences.Length(4, 28 / 4, 0.0)


def test_a_long_sentence_has_more_than_25_words(sentences: ModuleType) -> None:
    page = f"{'word ' * 25}.\n\n{'word ' * 26}."
    assert sentences.length(page) == sentences.Length(2, 25.5, 0.5)


def test_a_sentence_may_begin_with_the_name_of_a_page(sentences: ModuleType) -> None:
    assert len(sentences.sentences("See this. [docs/some.md](docs/some.md) has more, e.g. that. page.md, too.")) == 3


def test_what_is_no_prose_is_blank_and_lines_stay(sentences: ModuleType) -> None:
    lines = sentences.prose(PAGE)
    assert len(lines) == len(PAGE.splitlines())
    assert lines[3] == "seven (see the page), eight nine."
    assert lines[5:12] == [""] * 7


def test_a_page_without_a_sentence_has_no_length(sentences: ModuleType) -> None:
    assert sentences.length("# Title\n\n| a | table |\n") == sentences.Length(0, 0.0, 0.0)


@pytest.mark.parametrize("page", PLAIN)
def test_pages_in_plain_english_keep_their_sentences_short(sentences: ModuleType, page: str) -> None:
    assert sentences.length((ROOT / page).read_text(encoding="utf-8")).mean < 18


def test_it_prints_a_line_for_each_page(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("One two three. " + "Word " * 26 + ".", encoding="utf-8")
    command = [sys.executable, SCRIPTS / "sentences.py", ROOT / "README.md", tmp_path / "page.md", "--long"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in printed[:2]] == ["page", "README.md"]
    assert printed[-2].split() == [str(tmp_path / "page.md"), "2", "14.5", "50%"]
    assert printed[-1].startswith("  26: Word Word")


FAULTS = """One real fault in each line: this is is a repetition.
At this point in time it is fine.

An entry for every signal, "quoted", with (R) and 0 0 ... is fine; `very` is code.
"""


def test_the_style_check_finds_real_faults_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(FAULTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, SCRIPTS / "lint_prose.py", page], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    found = {line.split(": ")[0].rpartition(":")[0] for line in done.stdout.splitlines()}
    assert found == {f"{page}:1", f"{page}:2"}


def test_the_spelling_check_finds_real_faults_and_accepts_words_of_the_project(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The asend of lasr in --model ./modle is fine.\nTeh recieved run is not.\n", encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", "--toml", ROOT / "pyproject.toml", page]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["Teh ==> The", "recieved ==> received"]
    assert done.returncode != 0
