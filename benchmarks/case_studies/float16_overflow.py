"""Case study: a checkpoint that overflows in float16, and the layer in which that began.

    python benchmarks/case_studies/float16_overflow.py docs/results/case-float16-overflow.json
    python benchmarks/case_studies/float16_overflow.py --save FOLDER

SmolLM2-135M-Instruct, with a factor of 4096 moved within one layer's MLP: the rows of up_proj are multiplied by it, the
columns of down_proj divided. In float32 that is the same function, bit for bit; in float16 the product in between may
exceed 65504. Tools that smooth activations before quantization move factors in this way.

The same prompts are answered in float16 by the model as it is and by the changed one, recorded into a store. What is
true is seen by hooks of PyTorch beside CoreVital: the first step, layer and position whose output is not finite. With
--save the changed model goes to a folder, for `corevital run`. Needs what `corevital run --model smollm2` needs.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from common import write

from opentelemetry_instrumentation_corevital import last_run, open_store, recording, semconv
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel, load_model

LAYER: Final = 22
FACTOR: Final = 4096.0
PROMPTS: Final = (
    "Explain in a short paragraph why ships float although they are made of steel.",
    "Write three tips for somebody who wants to grow tomatoes on a balcony.",
    "How do I get a coffee stain out of a white shirt?",
    "Describe how a bicycle gear works to a child.",
    "What should I pack for a weekend of hiking in the rain?",
    "Suggest a name for a small bakery and say why it fits.",
)


def move_factor(model: Any) -> None:
    """Multiply one layer's up projection, and divide its down projection."""
    mlp = model.model.layers[LAYER].mlp
    with torch.no_grad():
        mlp.up_proj.weight.mul_(FACTOR)
        mlp.down_proj.weight.div_(FACTOR)


def encoded(loaded: LoadedModel, prompt: str) -> Any:
    """Return a prompt as the chat template makes it."""
    messages = [{"role": "user", "content": prompt}]
    return loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )


def logits(loaded: LoadedModel) -> list[torch.Tensor]:
    """Return the logits of every prompt [1, tokens, vocabulary]."""
    with torch.no_grad():
        return [loaded.model(**encoded(loaded, prompt)).logits for prompt in PROMPTS]


@contextmanager
def first_not_finite(model: Any) -> Iterator[dict[str, int]]:
    """Fill in the first step, layer and position whose output is not finite, and how many positions the step has."""
    found: dict[str, int] = {}
    forwards = [0]

    def look(layer: int, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        bad = ~torch.isfinite(hidden[0]).all(-1)
        if bad.any() and not found:
            found.update(step=forwards[0], layer=layer, position=int(bad.nonzero()[0]), positions=len(bad))
        forwards[0] += layer == len(model.model.layers) - 1

    handles = [
        each.register_forward_hook(lambda _module, _given, output, layer=number: look(layer, output))
        for number, each in enumerate(model.model.layers)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def largest(loaded: LoadedModel) -> float:
    """Return the largest absolute value that the prompts' hidden states have."""
    with torch.no_grad():
        states = [
            loaded.model(**encoded(loaded, prompt), output_hidden_states=True).hidden_states for prompt in PROMPTS
        ]
    return max(float(layer.abs().max()) for each in states for layer in each)


def answers(loaded: LoadedModel, tokens: int, store: Path) -> list[dict[str, Any]]:
    """Answer every prompt, watched; return what is true, and what CoreVital says."""
    found = []
    for prompt in PROMPTS:
        inputs = encoded(loaded, prompt)
        with recording(store, capture="full"), first_not_finite(loaded.model) as truth:
            output = loaded.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
            run = last_run()
        assert run is not None, "the run was not recorded"
        ids = output[0, inputs["input_ids"].shape[1] :]
        blamed = [{"layer": each.layer, "reason": each.reason, **each.evidence} for each in run.blame or ()]
        found.append(
            {
                "prompt": prompt,
                "text": loaded.tokenizer.decode(ids),
                "tokens": len(ids),
                "truth": truth or None,
                **stored(store),
                "blamed": blamed,
            }
        )
        print(prompt, truth, blamed[:2], flush=True)
    return found


def stored(store: Path) -> dict[str, Any]:
    """Return what the store has of its newest run."""
    with open_store(str(store)) as source:
        (summary,) = source.runs(limit=1)
        layers = source.load(summary).attributes.get(semconv.BLAME_LAYERS)
    return {
        "nan_detected": summary.nan_detected,
        "inf_detected": summary.inf_detected,
        "risk_score": summary.risk_score,
        "layers_in_the_store": [] if layers is None else list(layers),
    }


def figures(found: list[dict[str, Any]]) -> dict[str, int]:
    """Count the answers of a model."""
    bad = [each for each in found if each["truth"]]
    at_last = [each for each in bad if each["truth"]["position"] == each["truth"]["positions"] - 1]
    return {
        "answers": len(found),
        "overflowed": len(bad),
        "flagged": sum(bool(each["nan_detected"] or each["inf_detected"]) for each in found),
        "flagged_without_overflow": sum(
            bool(each["nan_detected"] or each["inf_detected"]) for each in found if not each["truth"]
        ),
        "began_at_the_last_position": len(at_last),
        "of_these_blamed_first_where_it_began": sum(is_blamed(each, 0) for each in at_last),
        "began_earlier_in_the_prompt": len(bad) - len(at_last),
        "of_those_blamed_first_one_layer_later": sum(is_blamed(each, 1) for each in bad if each not in at_last),
    }


def is_blamed(each: dict[str, Any], later: int) -> bool:
    """Return whether run and store blame the true layer first, or one so many layers later, at the true step."""
    truth, blamed = each["truth"], each["blamed"][:1]
    layer = truth["layer"] + later
    seen = [(found["layer"], found["step"]) for found in blamed] == [(layer, truth["step"])]
    return seen and each["layers_in_the_store"][:1] == [layer]


def measured(tokens: int, store: Path) -> dict[str, Any]:
    """Answer with the model as it is and with the changed one."""
    exact = load_model("smollm2", device="cpu", dtype="float32")
    before, size = logits(exact), largest(exact)
    move_factor(exact.model)
    same = all(torch.equal(one, other) for one, other in zip(before, logits(exact), strict=True))
    exact.model.half()
    changed = answers(exact, tokens, store)
    print(figures(changed), flush=True)
    plain = answers(load_model("smollm2", device="cpu", dtype="float16"), tokens, store)
    return {
        "workload": {"model": exact.name, "dtype": "float16", "layer": LAYER, "factor": FACTOR, "new_tokens": tokens},
        "float32_logits_are_the_same_bits": same,
        "largest_hidden_state_of_the_model_as_it_is": round(size, 1),
        "changed": figures(changed),
        "as_it_is": figures(plain),
        "answers": {"changed": changed, "as_it_is": plain},
    }


def main() -> None:
    """Save the changed model, or measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("result", type=Path, nargs="?")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--store", type=Path, help="where the runs go; default: a file that is removed")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="save the changed model, measure nothing")
    given = parser.parse_args()
    if given.save:
        loaded = load_model("smollm2", device="cpu", dtype="float32")
        move_factor(loaded.model)
        loaded.model.save_pretrained(given.save)
        loaded.tokenizer.save_pretrained(given.save)
    elif given.result:
        with tempfile.TemporaryDirectory() as aside:
            os.environ["XDG_DATA_HOME"] = aside  # the baseline that is learned here is no user's
            found = measured(given.new_tokens, given.store or Path(aside) / "runs.db")
            write({"format": "corevital case study 1", **found}, given.result)
    else:
        parser.error("name the file of the result, or --save FOLDER")


if __name__ == "__main__":
    main()
