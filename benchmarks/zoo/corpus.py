"""Build the training text of the zoo: one compressed file, from packages that a Debian machine can download.

    python benchmarks/zoo/corpus.py corpus.xz [--debs FOLDER] [--scale 0.01]

Text comes from the Debian packages below (`apt-get download`), Python's standard library, and the answers that SmolLM2
gave in the run set. The file holds JSON lines: one of facts about it, then documents (`kind`, `text`) and dictionary
facts (`word`, `definition`, `synonyms`). It is not committed. Needs apt and dpkg to build, nothing but Python to read.
"""

import argparse
import gzip
import hashlib
import json
import lzma
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

PACKAGES: Final = (
    "dict-gcide",
    "dict-foldoc",
    "dict-jargon",
    "wordnet-base",
    "fortunes",
    "fortunes-min",
    "linux-doc-6.1",
    "postgresql-doc-15",
)
HELD_OUT: Final = 40
"""One document in so many is not trained on: prompts are taken from these."""
FACTS: Final = 4000
_LONGEST: Final = 40_000


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of text: how much of it is taken, in characters, and where it comes from."""

    kind: str
    characters: float
    documents: Callable[[Path], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Fact:
    """What a dictionary says of a word."""

    word: str
    definition: str
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The text, apart by whether it is trained on: (kind, text)."""

    about: dict[str, Any]
    training: list[tuple[str, str]]
    held_out: list[tuple[str, str]]
    facts: list[Fact]


def _dictionary(name: str) -> Callable[[Path], Iterator[str]]:
    def documents(root: Path) -> Iterator[str]:
        text = gzip.decompress((root / f"usr/share/dictd/{name}.dict.dz").read_bytes()).decode("utf-8", "replace")
        for entry in re.split(r"\n\s*\n(?=\S)", text):
            yield re.sub(r"\n\s*\[[^\]\n]*(1913 Webster|WordNet 1\.5|PJC)[^\]\n]*\]", "", entry)

    return documents


def _wordnet(root: Path) -> Iterator[str]:
    for part, words, gloss in _synsets(root):
        yield f"{', '.join(words)} ({part}): {gloss}"


def _synsets(root: Path) -> Iterator[tuple[str, list[str], str]]:
    for part in ("noun", "verb", "adj", "adv"):
        for line in (root / f"usr/share/wordnet/data.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                head, _, gloss = line.partition(" | ")
                fields = head.split()
                words = [re.sub(r"\(\w+\)$", "", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
                yield part, [word.replace("_", " ") for word in words], gloss.strip()


def _fortunes(root: Path) -> Iterator[str]:
    for file in sorted((root / "usr/share/games/fortunes").iterdir()):
        if not file.suffix:
            yield from re.split(r"\n%\n", file.read_text(encoding="utf-8", errors="replace"))


def _kernel(root: Path) -> Iterator[str]:
    for file in sorted((root / "usr/share/doc/linux-doc-6.1/Documentation").rglob("*.rst.gz")):
        if "translations" not in file.parts:
            yield gzip.decompress(file.read_bytes()).decode("utf-8", "replace")


class _Text(HTMLParser):
    """Keeps the text of a page, without its navigation."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        hidden = tag in ("head", "script") or ("class", "navheader") in attrs or ("class", "navfooter") in attrs
        if hidden or (self._hidden and tag == "div"):
            self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag in ("head", "script", "div"):
            self._hidden -= 1
        if tag in ("p", "dt", "h1", "h2", "h3", "tr", "li", "pre"):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _postgres(root: Path) -> Iterator[str]:
    for file in sorted((root / "usr/share/doc/postgresql-doc-15/html").glob("*.html")):
        page = _Text()
        page.feed(file.read_text(encoding="utf-8", errors="replace"))
        yield re.sub(r"\n\s*\n+", "\n\n", "".join(page.parts))


def _library(_root: Path) -> Iterator[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    for file in sorted(folder.rglob("*.py")):
        if not {"site-packages", "test", "tests", "idlelib", "encodings"} & set(file.relative_to(folder).parts):
            yield file.read_text(encoding="utf-8", errors="replace")


def _chats(_root: Path) -> Iterator[str]:
    """Yield what SmolLM2 answered in the run set, but for loops."""
    from runset.store import load

    from opentelemetry_instrumentation_corevital.loading.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2", local=True)
    for sample in load():
        if sample.label is None or sample.label.loop or "messages" not in sample.prompt:
            continue
        question = sample.prompt["messages"][-1]["content"]
        answer = tokenizer.decode(sample.tokens.tolist(), skip_special_tokens=True)
        if sample.plan["temperature"] < 1.0:
            yield f"User: {question}\nAssistant: {answer}"


SOURCES: Final = (
    Source("dictionary", 16e6, _dictionary("gcide")),
    Source("thesaurus", 5e6, _wordnet),
    Source("computing", 4e6, _dictionary("foldoc")),
    Source("jargon", 1.5e6, _dictionary("jargon")),
    Source("fortune", 2.5e6, _fortunes),
    Source("kernel", 9e6, _kernel),
    Source("database", 6e6, _postgres),
    Source("code", 8e6, _library),
    Source("chat", 3e6, _chats),
)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def taken(documents: Iterator[str], characters: float) -> list[str]:
    """Return different documents, long ones cut, of so many characters in all: those whose hashes are smallest."""
    texts = {text.strip()[:_LONGEST] for text in documents}
    found: list[str] = []
    for text in sorted((text for text in texts if len(text) >= 40), key=_key):
        if characters <= 0:
            break
        found.append(text)
        characters -= len(text)
    return found


def facts(root: Path, count: int = FACTS) -> list[Fact]:
    """Return facts of one-word entries with a short definition and a synonym, nothing of places or people."""
    found = {}
    for part, words, gloss in _synsets(root):
        definition = gloss.split(";")[0].strip()
        word, *synonyms = [word for word in words if re.fullmatch(r"[a-z]{4,12}", word)] or [""]
        plain = not any(part in definition for part in ('"', "capital", word))
        if part in ("noun", "verb") and synonyms and plain and 15 <= len(definition) <= 70:
            found.setdefault(word, Fact(word, definition, tuple(synonyms)))
    return sorted(found.values(), key=lambda fact: _key(fact.word))[:count]


def build(file: Path, debs: Path, scale: float) -> None:
    """Write the corpus."""
    missing = [name for name in PACKAGES if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        debs.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *missing], cwd=debs, check=True)
    archives = [next(iter(sorted(debs.glob(f"{name}_*.deb")))) for name in PACKAGES]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for archive in archives:
            subprocess.run(["dpkg", "-x", str(archive), folder], check=True)
        every = {source.kind: taken(source.documents(root), scale * source.characters) for source in SOURCES}
        known = facts(root, max(60, int(scale * FACTS)))
    size = {kind: sum(map(len, texts)) for kind, texts in every.items()}
    about = {"packages": [archive.name for archive in archives], "python": sys.version.split()[0], "characters": size}
    lines = [json.dumps(about)]
    lines += [
        json.dumps({"word": fact.word, "definition": fact.definition, "synonyms": fact.synonyms}) for fact in known
    ]
    for kind, texts in every.items():  # texts of a kind side by side: they compress better
        lines += [json.dumps({"kind": kind, "text": text}, ensure_ascii=False) for text in texts]
    write(file, lines)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB of {sum(size.values()) / 1e6:.1f} MB text: {size}")


def write(file: Path, lines: list[str]) -> None:
    """Write lines of JSON, compressed, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 27}]
    aside.write_bytes(lzma.compress("\n".join(lines).encode(), filters=filters))
    aside.replace(file)


def read(file: Path) -> Corpus:
    """Read the corpus.

    Raises:
        SystemExit: where the file cannot be read, with what to do.
    """
    try:
        head, *lines = lzma.decompress(file.read_bytes()).decode().split("\n")
        about, entries = json.loads(head), [json.loads(line) for line in lines]
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise SystemExit(f"{file}: {error}; `python benchmarks/zoo/corpus.py {file}` makes it") from error
    texts = [(entry["kind"], entry["text"]) for entry in entries if "kind" in entry]
    held = [_key(text)[-1] % HELD_OUT == 0 for _, text in texts]
    return Corpus(
        {**about, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        [text for text, out in zip(texts, held, strict=True) if not out],
        [text for text, out in zip(texts, held, strict=True) if out],
        [Fact(e["word"], e["definition"], tuple(e["synonyms"])) for e in entries if "word" in e],
    )


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--debs", type=Path, default=Path(tempfile.gettempdir(), "corevital-zoo-debs"))
    parser.add_argument("--scale", type=float, default=1.0, help="take this share of every kind")
    options = parser.parse_args()
    build(options.file, options.debs, options.scale)


if __name__ == "__main__":
    main()
