"""CoreVital's numbers beside those of lm-polygraph, on the same greedy runs of SmolLM2.

    python benchmarks/answer_peers.py docs/results/answer-peers.json [--work FOLDER]

Do they measure the same, and which tells wrong answers from right ones? lm-polygraph is no dependency: it has a virtual
environment of its own (`peers/requirements.txt`, about 2 GB), made in --work, and the two
exchange files. The page is written beside the JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from answer_risk.table import table_of  # noqa: E402
from answers import smollm2_questions, store  # noqa: E402
from answers.rauq import rauq  # noqa: E402
from peers.answer_log_odds import in_support, log_odds  # noqa: E402
from peers.equality import differences  # noqa: E402
from peers.own_runs import OwnRun, from_exchange, own_runs, to_exchange  # noqa: E402
from peers.page import page  # noqa: E402
from peers.skill import as_figures, skill, two_sided  # noqa: E402
from zoo.generation import Generator  # noqa: E402
from zoo.making import demo  # noqa: E402
from zoo.plan import DEMO, MODELS  # noqa: E402
from zoo.watching import watched  # noqa: E402

from opentelemetry_instrumentation_corevital.loading.models import demo_model_path  # noqa: E402
from opentelemetry_instrumentation_corevital.run import middle_third  # noqa: E402

SEED: Final = 7
"""Of the questions: other draws than those on which the coefficients are fitted."""
ANSWER, OWN_RAUQ = "CoreVital: answer risk", "CoreVital: RAUQ"
PARTS: Final = {"whole": "all tokens", "line": "the answer's line"}


def environment(folder: Path) -> Path:
    """Return the Python of lm-polygraph's environment, which is made if it is not there."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        print(f"Installing lm-polygraph in {folder} ...", flush=True)
        venv.create(folder, with_pip=True)
        requirements = HERE / "peers" / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
    return python


def own_side(each: int) -> dict[str, Any]:
    """Return CoreVital's runs of so many questions of every task, as what lm-polygraph's side reads."""
    asked = [one for one in smollm2_questions.questions(each, SEED) if one.form == "unstopped"]
    trained = demo("cpu", torch.float32)
    with watched() as keep:
        generator = Generator(MODELS[DEMO], trained.model, trained.tokenizer, "cpu", keep)
        runs = own_runs(generator, asked)
    end, middle = trained.tokenizer.pad_token_id, middle_third(generator.layers)
    return to_exchange(runs, str(demo_model_path()), end, middle)


def exchanged(folder: Path, each: int, python: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what both sides found, read from the folder where it is there."""
    given, found = folder / "corevital.json", folder / "lm-polygraph.json"
    if not given.exists():
        given.write_text(json.dumps(own_side(each)), encoding="utf-8")
    if not found.exists():
        subprocess.run([python, HERE / "peers" / "with_lm_polygraph.py", given, found], check=True)
    return json.loads(given.read_text(encoding="utf-8")), json.loads(found.read_text(encoding="utf-8"))


def skills(own: Sequence[OwnRun], theirs: Sequence[dict[str, Any]], part: str) -> dict[str, Any]:
    """Return how well each number tells wrong answers, of all tokens (`whole`) or of the answer's line (`line`)."""

    def steps(run: OwnRun) -> int:
        return run.line_steps if part == "line" else len(run.tokens)

    names = list(theirs[0][part])
    numbers = {name: np.array([row[part][name] for row in theirs]) for name in names}
    numbers[OWN_RAUQ] = np.array(
        [rauq(run.columns["surprisal"][: steps(run)], run.previous[: steps(run)]) for run in own]
    )
    numbers[ANSWER] = log_odds(table_of(store.load()), DEMO, own, steps)
    wrong = np.array([not run.right for run in own])
    return as_figures(skill(numbers, [run.task for run in own], wrong), names, ANSWER)


def figures(own: Sequence[OwnRun], found: dict[str, Any]) -> dict[str, Any]:
    """Return all figures of the runs on which both sides chose the same tokens."""
    pairs = list(zip(own, found["runs"], strict=True))
    same = [(run, row) for run, row in pairs if row["prompt_ids"] == run.prompt_ids and row["tokens"] == run.tokens]
    mine, theirs = [run for run, _ in same], [row for _, row in same]
    tasks, wrong = [run.task for run in mine], np.array([not run.right for run in mine])
    rows = two_sided(tasks, wrong)
    return {
        "command": "python benchmarks/answer_peers.py docs/results/answer-peers.json",
        "corevital": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "theirs": found["versions"],
        "questions": len(pairs),
        "same_prompt": sum(row["prompt_ids"] == run.prompt_ids for run, row in pairs),
        "same_tokens": len(same),
        "in_support": in_support(mine),
        "largest_difference": {name: float(f"{value:.2g}") for name, value in differences(mine, theirs).items()},
        "tasks": {task: {"runs": len(some), "wrong": int(wrong[some].sum())} for task, some in rows.items()},
        "too_one_sided": [task for task in dict.fromkeys(tasks) if task not in rows],
        "skill": {said: skills(mine, theirs, part) for part, said in PARTS.items()},
    }


def main() -> None:
    """Ask, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--questions", type=int, default=30, help="of each task")
    parser.add_argument(
        "--work", type=Path, help="folder of the environment and of both sides' runs; what is there is not made again"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="answer-peers-") as aside:
        work = options.work or Path(aside)
        work.mkdir(parents=True, exist_ok=True)
        given, found = exchanged(work, options.questions, environment(work / "environment"))
        figured = figures(from_exchange(given), found)
    options.result.write_text(json.dumps(figured, indent=1) + "\n", encoding="utf-8")
    options.result.with_suffix(".md").write_text(page(figured), encoding="utf-8")
    print(page(figured))


if __name__ == "__main__":
    main()
