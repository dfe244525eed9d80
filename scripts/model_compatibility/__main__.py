"""Sweeps the text-generating architectures of transformers and writes docs/model-compatibility.md.

Every configuration of AutoModelForCausalLM and AutoModelForSeq2SeqLM, and every one of AutoModelForImageTextToText and
AutoModelForSpeechSeq2Seq whose text part is an encoder-decoder or the decoder of one, is made small by rule,
instantiated with random weights, and generates a few tokens without CoreVital and with it. What CoreVital measured is
compared with what the model says of itself. The results of each version of transformers are kept in docs/results; the
page is made from all of them.

    python scripts/model_compatibility                  # sweep with the transformers at hand, then write the page
    python scripts/model_compatibility --only llama     # one model type, printed, nothing written
    python scripts/model_compatibility --again image t5    # sweep kinds or model types again, keep the other results
    python scripts/model_compatibility --page         # the page only
"""

import argparse
import json

from common import PAGE
from page import page
from sweep import architectures, save, sweep, work


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="sweep one model type and print the result")
    parser.add_argument("--again", metavar="NAME", nargs="+", help="sweep kinds or model types, keep the other results")
    parser.add_argument("--page", action="store_true", help="write the page from the results at hand")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
    elif arguments.only:
        results = sweep([name for name in architectures() if name[1] == arguments.only])
        print(json.dumps(results, indent=2))
    else:
        if arguments.again:
            save(sweep([name for name in architectures() if {*name} & {*arguments.again}]), known=True)
        elif not arguments.page:
            save(sweep(architectures()))
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
