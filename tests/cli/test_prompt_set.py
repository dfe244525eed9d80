"""Files of prompt sets: what they may say, and that each mistake is named with its line before anything is run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.cli.graders import Grader
from opentelemetry_instrumentation_corevital.cli.prompt_set import SetPrompt, read_prompt_set


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def objects(folder: Path, *several: Any) -> Path:
    return written(
        folder, "set.jsonl", "\n".join(each if isinstance(each, str) else json.dumps(each) for each in several)
    )


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    text = "one\r\n\r\n  two words \n\t\nthree\u2028still three\x0bfour\x85\rfive"
    found = read_prompt_set(written(tmp_path, "set.TXT", b"\xef\xbb\xbf" + text.encode()))
    assert [(prompt.id, prompt.line, prompt.text) for prompt in found] == [
        ("1", 1, "one"),
        ("3", 3, "  two words "),
        ("5", 5, "three\u2028still three\x0bfour\x85"),
        ("6", 6, "five"),
    ]
    assert "\u2028" not in found[2].shown


def test_a_line_of_json_says_more(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    data = objects(
        tmp_path,
        {"id": "q1", "prompt": "a\u2028b", "expected": "Paris", "metadata": {"kind": ["é", 1.5]}},
        {"id": 7, "messages": messages, "expected": ["x", "y"]},
        {"prompt": "c", "id": None, "expected": None},
    )
    assert read_prompt_set(data) == [
        SetPrompt(1, "q1", "a\u2028b", None, ("Paris",), '{"kind":["é",1.5]}'),
        SetPrompt(2, "7", None, messages, ("x", "y")),
        SetPrompt(3, None, "c"),
    ]
    graded = objects(
        tmp_path,
        {"prompt": "a", "expected": "7", "grader": "number"},
        {"prompt": "b", "expected": "x"},
        {"prompt": "c"},
    )
    assert [prompt.grader for prompt in read_prompt_set(graded)] == ["number", "contains", "contains"]
    assert [prompt.grader for prompt in read_prompt_set(graded, Grader.EXACT)] == ["number", "exact", "contains"]
    assert read_prompt_set(written(tmp_path, "bom.jsonl", b'\xef\xbb\xbf{"prompt": "a"}\r\n')) == [
        SetPrompt(1, None, "a")
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"prompt": "a"', "no JSON at column 15"),
        ('{"prompt": "a"} {"prompt": "b"}', "no JSON at column 17"),
        ("a prompt", "no JSON at column 1"),
        ("[1]", "is no JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ({}, "has neither prompt nor messages"),
        ({"prompt": None}, "has neither prompt nor messages"),
        ({"prompt": "a", "messages": []}, "has prompt and messages"),
        ({"promt": "a"}, "promt: is no field; fields are id, prompt, messages, expected, grader, metadata"),
        (
            {"prompt": "a", "expected": "b", "grader": "fuzzy"},
            "grader: fuzzy is none; graders are contains, exact, regex",
        ),
        ({"prompt": "a", "expected": "b", "grader": 7}, "grader: 7 is none"),
        ({"prompt": "a", "grader": "exact"}, "grader: has nothing to compare; give expected, too"),
        ({"prompt": "a", "expected": ["7", "b"], "grader": "number"}, "expected: b is no number"),
        ({"prompt": "a", "expected": "(", "grader": "regex"}, "expected: ( is no regular expression (missing )"),
        ({"prompt": "a", "\u202ex" * 99: 1}, "\\u202ex\\u202ex"),
        ({"prompt": 7}, "prompt: is no text"),
        ({"prompt": " \n"}, "prompt: is empty"),
        ({"prompt": "x" * 10 * 2**20}, "prompt: has 10,485,760 characters; 1,048,576 are the most"),
        ('{"prompt": "\\ud800"}', "prompt: has half of a surrogate pair"),
        ({"prompt": "a", "id": ""}, "id: is empty"),
        ({"prompt": "a", "id": "a\nb"}, "id: is empty, or has blanks around it or characters that cannot be shown"),
        ({"prompt": "a", "id": True}, "id: is neither a text nor a whole number"),
        ({"prompt": "a", "id": 1.5}, "id: is neither a text nor a whole number"),
        ({"prompt": "a", "id": "x" * 129}, "id: has 129 characters; 128 are the most"),
        ({"messages": "a"}, "messages: is no list of messages"),
        ({"messages": []}, "messages: is no list of messages"),
        ({"messages": ["a"]}, "messages: message 1 is no object of role and content"),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "messages: message 1 is no object of role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages: content of message 1 is no text"),
        ({"messages": [{"role": "user", "content": "x" * 2**19}] * 3}, "messages: have over 1,048,576 characters"),
        ({"prompt": "a", "expected": 4}, "expected: is no text"),
        ({"prompt": "a", "expected": []}, "expected: is a text, or a list of some"),
        ({"prompt": "a", "expected": ["x", " "]}, "expected: is empty"),
        ({"prompt": "a", "expected": "x" * 2**15}, "expected: has 32,768 characters; 16,384 are the most"),
        ({"prompt": "a", "metadata": "x"}, "metadata: is no JSON object"),
        ('{"prompt": "a", "metadata": {"x": NaN}}', "metadata: has a number that JSON does not have"),
        ({"prompt": "a", "metadata": {"x": "y" * 2**14}}, "metadata: has 16,392 characters; 16,384 are the most"),
    ],
    ids=lambda each: str(each)[:50],
)
def test_a_mistake_is_named_with_file_line_and_field(line: Any, told: str, tmp_path: Path) -> None:
    path = objects(tmp_path, {"prompt": "fine"}, "", line, {"prompt": "fine, too"})
    with pytest.raises(UserError) as raised:
        read_prompt_set(path)
    assert str(raised.value).startswith(f"--prompts {path}, line 3: {told}")
    assert len(str(raised.value)) < 500 + len(str(path)), "nobody wants to read the line itself"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (({"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}), "line 2: id: a is that of line 1, too;"),
        (({"prompt": "x"}, {"id": 1, "prompt": "y"}), "line 2: id: 1 is that of line 1, too (a prompt without one has"),
        (
            ({"id": "2", "prompt": "x"}, {"prompt": "y"}),
            "line 2: id: 2 is that of line 1, too (a prompt without one has",
        ),
    ],
    ids=["given", "then a line's", "a line's then"],
)
def test_an_id_is_there_once(lines: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read_prompt_set(objects(tmp_path, *lines))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("set.txt", "", "there is no prompt in it; write a prompt on each line"),
        ("set.txt", b"\xef\xbb\xbf \r\n", "there is no prompt in it"),
        ("set.jsonl", "\n\n", "there is no prompt in it; write a JSON object"),
        (
            "set.txt",
            b"one\ntwo\r\n\xe9t\xe9",
            "line 3: is not UTF-8 at byte 9 of the file; save it as UTF-8",
        ),
        ("set.txt", "one".encode("utf-16"), "line 1: is not UTF-8 at byte 0 of the file"),
        ("set.csv", "a", "name it .txt (a prompt a line) or .jsonl"),
        ("set", "a", "name it .txt"),
        ("set.json", "[]", "or .jsonl (a JSON object a line)"),
    ],
)
def test_a_file_that_is_none_is_named(name: str, data: bytes | str, told: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, data)
    with pytest.raises(UserError) as raised:
        read_prompt_set(path)
    assert str(raised.value).startswith(f"--prompts {path}")
    assert told in str(raised.value)


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for path, told in (("none.txt", "No such file"), ("folder.txt", "Is a directory")):
        with pytest.raises(UserError, match=f"{path}: cannot be read: {told}"):
            read_prompt_set(tmp_path / path)
    with open(tmp_path / "large.txt", "wb") as file:
        os.truncate(file.fileno(), (64 << 20) + 1)
    with pytest.raises(UserError, match=r"large\.txt: cannot be read: holds more than 64 MiB"):
        read_prompt_set(tmp_path / "large.txt")
