"""The shipped coefficients of the answer risk, and how good it is on models and tasks that a fit has not seen.

    python benchmarks/answer_risk fit                                     # writes baselines/answer_model.json
    python benchmarks/answer_risk figures docs/results/answer-risk.json   # seconds; prints them, too
    python benchmarks/answer_risk labels docs/results/answer-labels.json  # a minute

The answers are those of `benchmarks/answers`.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
sys.path[:0] = [str(SOURCE), str(HERE.parent)]

from answers.store import load  # noqa: E402

from answer_risk import labels, ordinary  # noqa: E402
from answer_risk.figures import figures  # noqa: E402
from answer_risk.fitting import as_model, fit  # noqa: E402
from answer_risk.table import table_of  # noqa: E402

MODEL = SOURCE / "opentelemetry_instrumentation_corevital" / "baselines" / "answer_model.json"


def main() -> None:
    """Fit, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("fit", help="fit all answers and write the model that is shipped")
    for name, about in (
        ("figures", "fit without a model and a task, and judge what was left out"),
        ("labels", "fit a model's own to some of its answers, and judge the others"),
    ):
        parts.add_parser(name, help=about).add_argument("out", type=Path)
    options = parser.parse_args()
    table = table_of(load())
    if options.part == "fit":
        MODEL.write_text(as_model(fit(table), table).model_dump_json(indent=1) + "\n")
        print(MODEL.read_text(), end="")
        return
    found = labels.figures(table) if options.part == "labels" else figures(table) | {"ordinary": ordinary.figures()}
    text = json.dumps(found, indent=1) + "\n"
    options.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
