"""The zoo's mechanics: its text, tasks and faults, what is measured beside the capture, and how runs are kept."""

import importlib
import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.baselines import profiled_signals
from tests.support.toy_corpus import write_toy_corpus

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")

PARTS = (
    "collect container corpus experts faults generation making options overview pack plan prompts rows shard store"
    " structured tasks train vocabulary"
)
TRAINED = ("gpt2", "llama", "mistral", "qwen3", "olmo2", "mixtral")


@pytest.fixture(scope="module")
def zoo() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(f"zoo.{name}") for name in PARTS.split()})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("zoo", "runset")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def corpus_file(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "corpus.xz"
    write_toy_corpus(zoo.corpus, file)
    return file


@pytest.fixture(scope="module")
def collected(zoo: Any, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """A toy model, trained and collected."""
    folder = tmp_path_factory.mktemp("zoo")
    command = ["train", "llama", folder / "out", "--corpus", corpus_file, "--toy", "--steps", 3]
    command += ["--part", "structured", "--columns", "attention_middle", "--work", folder / "work"]
    options = zoo.options.parser().parse_args([str(part) for part in command])
    zoo.making.make(options)
    options.parts_first = sorted(file.name for file in folder.rglob("*.pickle"))
    options.files_first = list(options.out.iterdir())
    options.alone = None
    zoo.making.make(options)
    return options


# --- models ------------------------------------------------------------------------------------------------------


def test_six_makes_of_the_sizes_that_were_planned(zoo: Any) -> None:
    assert set(TRAINED) | {"smollm2"} == set(zoo.plan.MODELS)
    tokens = SimpleNamespace(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    for name in TRAINED:
        plan = zoo.plan.MODELS[name]
        with torch.device("meta"):
            model = zoo.train.new_model(plan, tokens)
        parameters = sum(weight.numel() for weight in model.parameters())
        assert 10e6 <= parameters <= 60e6, name
        assert 4 <= len(zoo.faults.layers(model)) <= 24, name
        assert "gemma" not in plan.config.lower()
    assert zoo.plan.MODELS["olmo2"].vocabulary >= 100_000
    assert zoo.plan.MODELS["mistral"].shape["sliding_window"] < 600, "a run has to be longer than the window"


def test_experts_that_all_work_on_all_tokens_learn_what_chosen_ones_would(zoo: Any) -> None:
    plan = zoo.plan.toy(zoo.plan.MODELS["mixtral"])
    model = zoo.train.new_model(plan, SimpleNamespace(bos_token_id=0, eos_token_id=1, pad_token_id=2))
    ids = torch.randint(3, plan.vocabulary, (2, 20), generator=torch.Generator().manual_seed(1))

    def learned() -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        loss, balance = zoo.train._loss(model, ids, "cpu")
        (loss + balance).backward()
        return loss.item(), [weight.grad.clone() for weight in model.parameters()]

    before = model.config._experts_implementation
    loss, changes = learned()
    with zoo.experts.all_on_all(model):
        assert model.config._experts_implementation != before
        faster_loss, faster_changes = learned()
    assert model.config._experts_implementation == before
    assert faster_loss == pytest.approx(loss, rel=1e-5)
    for change, faster in zip(changes, faster_changes, strict=True):
        torch.testing.assert_close(faster, change, rtol=1e-3, atol=1e-6)


def test_the_rate_of_learning_warms_up_and_falls_to_nothing(zoo: Any) -> None:
    training = zoo.plan.Training()
    rates = [zoo.train.rate(step / 1000, step, training) for step in range(1000)]
    assert rates[0] < rates[39] == rates[700] == training.learning_rate
    assert rates[-1] < 0.05 * training.learning_rate
    assert rates[760:] == sorted(rates[760:], reverse=True)


# --- text --------------------------------------------------------------------------------------------------------


def test_the_corpus_keeps_some_documents_from_training(zoo: Any, corpus_file: Path) -> None:
    found = zoo.corpus.read(corpus_file)
    assert len(found.training) + len(found.held_out) == 450
    assert 2 <= len(found.held_out) <= 40
    assert not {text for _, text in found.training} & {text for _, text in found.held_out}
    assert len(found.facts) == 36


def test_a_corpus_that_cannot_be_read_says_how_it_is_made(zoo: Any, tmp_path: Path) -> None:
    for file, content in ((tmp_path / "none.xz", None), (tmp_path / "bad.xz", b"not a corpus")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SystemExit, match=rf"{file.name}.*corpus\.py"):
            zoo.corpus.read(file)


def test_a_kind_of_text_is_taken_up_to_its_size(zoo: Any) -> None:
    documents = [f"{number:03} " + "text " * 20 for number in range(100)]
    found = zoo.corpus.taken(iter([*documents, *documents, "short"]), 1000)
    assert len(set(found)) == len(found) == 10
    assert found == zoo.corpus.taken(iter(documents[::-1]), 1000), "whatever their order"


def test_structured_text_has_varying_values_in_every_format(zoo: Any) -> None:
    for name, make in zoo.structured.FORMATS.items():
        for seed in range(20):
            document = make(Random(seed), 30)
            assert len(set(document.records)) > 20, name
            assert not zoo.rows.ends_in_copies(document.text), name
            assert document.text.startswith(document.beginning(2)), name
    kinds = [kind for kind, _ in zoo.structured.beginnings(2, Random(1))]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(zoo.structured.FORMATS, 2)


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ("a beginning, then " + '{"id": 4, "name": "plum"}\n' * 3, True),
        ("a beginning, then " + '{"id": 4, "name": "plum"}\n' * 2, False),
        ("a beginning, then " + '{"id": 4, "name": "plum"}\n' * 3 + '{"id": 4, "na', True),
        ("".join(f'{{"id": {number}, "name": "plum"}}\n' for number in range(9)), False),
        ("no, " * 10, False),
        ("no, " * 20, True),
        ("", False),
    ],
)
def test_copies_are_exact_three_and_long_enough(zoo: Any, text: str, copies: bool) -> None:
    assert zoo.rows.ends_in_copies(text) == copies


def test_structured_text_loops_only_where_its_values_recur(zoo: Any) -> None:
    prompt = zoo.prompts.Prompt("structured", "")
    row = zoo.rows.Row("healthy", prompt, 0, 40, 0.0, None, "", onset=12)
    assert not row.loop, "its text is like a loop, its values are not"
    row.copies = True
    assert row.loop


def test_prompts_are_of_text_that_was_not_trained_on(zoo: Any, corpus_file: Path) -> None:
    text = zoo.corpus.read(corpus_file)
    held = [held for _, held in text.held_out]
    found = zoo.prompts.some(zoo.prompts.healthy(zoo.plan.MODELS["llama"], text, 3), 120)
    assert {"dictionary", "code", "kernel", "structured"} >= {prompt.kind for prompt in found}
    assert all(any(prompt.text in one for one in held) for prompt in found if prompt.kind != "structured")
    again = zoo.prompts.some(zoo.prompts.healthy(zoo.plan.MODELS["llama"], text, 3), 120)
    assert found == again


def test_smollm2_is_asked_and_nothing_of_capitals_or_sums(zoo: Any, corpus_file: Path) -> None:
    text = zoo.corpus.read(corpus_file)
    found = zoo.prompts.some(zoo.prompts.healthy(zoo.plan.MODELS["smollm2"], text, 3), 200)
    asked = [prompt for prompt in found if prompt.messages]
    assert 110 <= len(asked) <= 170, "its share beside the three kinds of this text"
    assert not any("capital" in prompt.messages[-1]["content"].lower() for prompt in asked)


# --- tasks -------------------------------------------------------------------------------------------------------


def test_questions_have_the_answer_that_counts_as_right(zoo: Any, corpus_file: Path) -> None:
    facts, draw = zoo.corpus.read(corpus_file).facts, Random(1)
    for make in zoo.tasks.TASKS.values():
        for level in range(zoo.tasks.LEVELS):
            question = make(facts, level, draw)
            assert question.right(f" {question.answers[0].title()}.\nAnd more")
            assert not question.right("something else")
            assert question.solved.endswith(question.answers[0])
    table = zoo.tasks.look_up(facts, 2, draw)
    assert table.text.count(f": {table.answers[0]}\n") >= 1
    assert int(zoo.tasks.counting(facts, 2, draw).answers[0]) in range(7, 10)


def test_a_fact_stands_in_the_training_text_as_often_as_its_level_says(zoo: Any, corpus_file: Path) -> None:
    facts = zoo.corpus.read(corpus_file).facts
    texts = zoo.tasks.training_texts(facts, 3, Random(1))
    for number in (0, 1, 2, 3):
        often = zoo.tasks.EXPOSURES[zoo.tasks.level_of(number)]
        assert texts.count(zoo.tasks.definition(facts[number], 0).solved) == often


def test_levels_are_those_nearest_to_half_right(zoo: Any) -> None:
    right = {(task, level): (0.0, 0.4, 0.7, 1.0)[level] for task in zoo.tasks.TASKS for level in range(4)}
    right["copying", 3] = 0.5
    levels = zoo.tasks.fitting_levels(right)
    assert levels["counting"] == [1, 2]
    assert levels["copying"] == [1, 3]
    every = range(zoo.tasks.LEVELS)
    assert zoo.tasks.fitting_levels({("copying", level): 1.0 for level in every})["copying"] == [4, 5], "the hardest"
    assert zoo.tasks.fitting_levels({("copying", level): 0.0 for level in every})["copying"] == [0, 1], "the easiest"


def test_the_hardest_levels_ask_what_was_not_trained_on(zoo: Any) -> None:
    known = [zoo.corpus.Fact(f"known{number}", f"one of {number}", (f"old{number}",)) for number in range(1600)]
    other = [zoo.corpus.Fact(f"other{number}", f"two of {number}", (f"new{number}",)) for number in range(40)]
    draw, facts = Random(1), [*known, *other]
    trained = " ".join(zoo.tasks.training_texts(known, 20, Random(1)))
    for level in range(zoo.tasks.TRAINED, zoo.tasks.LEVELS):
        for task in ("definition", "synonym", "choosing"):
            question = zoo.tasks.TASKS[task](facts, level, draw)
            assert "two of" in question.text or "other" in question.text
            assert question.text not in trained
        for task in ("copying", "counting"):
            assert "known" not in zoo.tasks.TASKS[task](facts, level, draw).text
    assert "known" in zoo.tasks.copying(facts, zoo.tasks.TRAINED - 1, draw).text


def test_sides_are_split_by_prompt(zoo: Any) -> None:
    sides = [zoo.collect.side(number) for number in range(1100)]
    assert (sides.count("baseline"), sides.count("held_out")) == (500, 600)


# --- faults ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(zoo: Any) -> dict[str, Any]:
    tokens, found = SimpleNamespace(bos_token_id=0, eos_token_id=None, pad_token_id=2), {}
    for name in TRAINED:
        plan = zoo.plan.toy(zoo.plan.MODELS[name])
        found[name] = zoo.train.new_model(plan, tokens).eval()
    return found


def _states(zoo: Any, model: Any, tokens: int) -> list[list[torch.Tensor]]:
    """Return the last-position output of each layer at each step of a forced continuation."""
    seen: list[list[torch.Tensor]] = [[] for _ in zoo.faults.layers(model)]

    def keep(number: int) -> Any:
        return lambda _m, _a, out: seen[number].append(
            (out if isinstance(out, torch.Tensor) else out[0])[:, -1].clone()
        )

    handles = [layer.register_forward_hook(keep(n)) for n, layer in enumerate(zoo.faults.layers(model))]
    text = torch.randint(3, 400, (2, 6 + tokens), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        cache = None
        for step in range(tokens):
            ids = text[:, :6] if step == 0 else text[:, 5 + step : 6 + step]
            cache = model(ids, past_key_values=cache, use_cache=True).past_key_values
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", TRAINED)
def test_faults_begin_in_their_layer_at_their_step_and_take_themselves_out(zoo: Any, tiny: Any, name: str) -> None:
    model, tokens, layer = tiny[name], zoo.faults.STEP + 2, 1
    before = {key: value.clone() for key, value in model.state_dict().items()}
    healthy = _states(zoo, model, tokens)
    for kind, fault in zoo.faults.FAULTS.items():
        with fault.plant(model, layer):
            found = _states(zoo, model, tokens)
        assert all(map(torch.equal, found[0], healthy[0])), f"{kind}: the layer before it"
        same = [torch.equal(one, other) for one, other in zip(found[layer], healthy[layer], strict=True)]
        assert same.index(False) == fault.step, kind
        assert same[: fault.step] == [True] * fault.step, kind
    assert all(map(torch.equal, _states(zoo, model, tokens)[layer], healthy[layer]))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# --- what is measured beside the capture -------------------------------------------------------------------------


def test_the_entropy_of_projected_states_is_that_of_the_states(zoo: Any) -> None:
    draw = torch.Generator().manual_seed(1)
    one = torch.randn(1, 512, generator=draw).expand(20, -1)
    spread = torch.randn(60, 512, generator=draw)
    for states, tolerance in ((one, 1e-3), (spread, 0.15)):
        gram = (states @ states.T).double()
        exact = -math.log(float((gram / gram.trace()).square().sum()))
        found = []
        for seed in range(16):
            way = torch.randn(512, zoo.generation.MOMENT, generator=torch.Generator().manual_seed(seed))
            found.append(float(zoo.generation.renyi_entropy(states @ way)))
        assert np.mean(found) == pytest.approx(exact, abs=tolerance)


def test_states_after_the_end_do_not_count(zoo: Any) -> None:
    states = torch.randn(3, 9, 64, generator=torch.Generator().manual_seed(1))
    longer = torch.cat([states, torch.zeros(3, 5, 64)], 1)
    assert torch.allclose(zoo.generation.renyi_entropy(states), zoo.generation.renyi_entropy(longer))


def test_a_model_without_a_fault_diverges_from_itself_by_nothing(zoo: Any, tiny: Any) -> None:
    model = tiny["llama"]
    plan = zoo.plan.toy(zoo.plan.MODELS["llama"])
    generator = zoo.generation.Generator(plan, model, SimpleNamespace(pad_token_id=2, eos_token_id=1), "cpu", None)
    prompts, said = [[0, 5, 9, 14], [0, 7, 8]], zoo.generation.Distributions()
    model.generation_config.eos_token_id = None
    tokens = generator.generate(prompts, 20, 0.0, 0, **said.option()).tolist()
    for number, usual in enumerate(generator.log_probabilities(prompts, tokens)):
        steps = [step[number] for step in said.steps]
        assert zoo.collect._divergence(usual, steps, 3) == pytest.approx(0, abs=1e-5)
        steps[5] = torch.full_like(steps[5], torch.nan)
        assert zoo.collect._divergence(usual, steps, 3) == math.inf
        assert math.isnan(zoo.collect._divergence(usual, steps, 20)), "it ended before"
    bits = generator.surprisals(prompts, tokens)
    by_hand = -sum(float(step[0, token]) for step, token in zip(said.steps, tokens[0], strict=True)) / math.log(2)
    assert bits[0] == pytest.approx(by_hand, rel=1e-4)


# --- files -------------------------------------------------------------------------------------------------------


def test_windows_are_those_of_the_packages_own_profiles(zoo: Any) -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(size=(43, 3)).astype(np.float32)
    median, largest, place = zoo.container.windows(values)
    _, theirs = profiled_signals.windows(values.astype(np.float64))
    assert median == pytest.approx(theirs, abs=1e-6)
    assert (len(median), zoo.container.window_count(43)) == (5, 5)
    assert largest[1, 2] == values[9:17, 2].max()
    assert place[1, 2] == values[9:17, 2].argmax()
    values[1:9, 0] = np.nan
    values[9:13, 0] = np.inf
    median, largest, place = zoo.container.windows(values)
    assert (math.isnan(median[0, 0]), math.isnan(largest[0, 0]), place[0, 0]) == (True, True, 255)
    assert (largest[1, 0], place[1, 0]) == (values[13:17, 0].max(), 4 + values[13:17, 0].argmax())
    assert zoo.container.windows(values[:8])[0].shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rounded_numbers_are_off_by_half_a_step_at_most(zoo: Any, dtype: Any) -> None:
    values = np.concatenate([np.random.default_rng(1).normal(size=999) * 50, [0, np.nan, np.inf, -np.inf]]).astype(
        dtype
    )
    found = zoo.container.rounded(values, 6)
    assert found.dtype == dtype
    known = np.isfinite(values)
    some = known & (values != 0)
    assert float(np.abs(found[some] / values[some] - 1).max()) <= 2.0**-7
    assert np.array_equal(found[~known], values[~known], equal_nan=True)
    assert len(np.unique(found[known])) < len(np.unique(values[known]))


def test_a_large_file_comes_in_parts_and_is_one_again(zoo: Any, tmp_path: Path) -> None:
    draw, file = np.random.default_rng(1), tmp_path / "a.npz.xz"
    arrays = {
        "meta": np.array("{}"),
        "x": draw.normal(size=(50, 30)).astype(np.float16),
        "y/z": draw.integers(0, 9, 700).astype(np.uint32),
        "empty": np.empty((3, 0), np.float16),
        "bytes": np.arange(9, dtype=np.uint8),
    }
    assert zoo.container.write(file, arrays, part=900) == zoo.container.files(file)
    assert len(zoo.container.files(file)) > 2
    for _ in range(2):
        found = zoo.container.read(file)
        assert all(
            np.array_equal(found[name], arrays[name]) and found[name].dtype == arrays[name].dtype for name in arrays
        )
        assert zoo.container.write(file, arrays) == [file], "parts of before are gone"
    with pytest.raises(FileNotFoundError, match=r"b\.npz\.xz"):
        zoo.container.read(tmp_path / "b.npz.xz")


# --- the whole way -----------------------------------------------------------------------------------------------


def test_a_part_is_collected_alone_and_joined_later(collected: Namespace) -> None:
    assert collected.parts_first == ["structured.pickle"]
    assert not collected.files_first


def test_a_collection_has_every_kind_of_run(zoo: Any, collected: Any) -> None:
    runs = zoo.store.load("llama", collected.out)
    known = zoo.store.about("llama", collected.out)
    assert known["layers"] == 2
    assert known["report"]["complete"]
    assert known["report"]["corpus_sha256"]
    groups = {run.group for run in runs}
    assert groups >= {"healthy", "structured", "fault", "task"}
    assert {run.fault for run in runs} == {"", *zoo.faults.FAULTS}
    assert {run.task for run in runs} == {"", *zoo.tasks.TASKS}
    assert {run.kind for run in runs if run.group == "structured"} == set(zoo.structured.FORMATS)
    assert len({run.number for run in runs}) == len(runs)
    for run in runs:
        assert len(run.tokens) == len(run.columns["entropy"]) <= run.limit
        if run.group == "fault":
            step = zoo.faults.FAULTS[run.fault].step
            assert (run.layer in (0, 1), run.step) == (True, step)
            assert run.layers["attention_middle"].shape == (run.steps, 2)
        if run.group == "task":
            assert (len(run.samples), run.spectrum.shape) == (2, (2,))
            assert run.previous.shape == (run.steps, 2, 2)
            assert isinstance(run.right, bool)
        if run.group == "healthy":
            assert run.side in ("baseline", "held_out")
            assert (not run.loop, run.steps >= 8) == (True, True)


def test_structured_documents_come_in_the_models_tokens(zoo: Any, collected: Any) -> None:
    found = zoo.store.made_texts("llama", collected.out)
    assert [kind for kind, _ in found] == [kind for kind in zoo.structured.FORMATS for _ in range(2)]
    folder = next(collected.work.glob("llama-*/tokenizer"))
    tokenizer = zoo.vocabulary.transformers.AutoTokenizer.from_pretrained(folder)
    for kind, tokens in found:
        assert 160 <= len(tokens) <= 512
        text = tokenizer.decode(tokens.tolist())
        assert not zoo.rows.ends_in_copies(text), kind
        assert len(set(text.splitlines())) >= 2, kind


def test_a_planted_value_is_found_in_its_layer_at_its_step(zoo: Any, collected: Any) -> None:
    for run in zoo.store.load("llama", collected.out):
        count = {"NaN": "hidden_nan", "Inf": "hidden_inf", "float16 overflow": "hidden_inf"}.get(run.fault)
        if count is not None and run.reached:
            step, layer = np.argwhere(run.counts[count] > 0)[0]
            assert (step, layer) == (run.step, run.layer), run.fault
            assert run.kl == math.inf or run.fault != "NaN"


def test_what_was_collected_is_not_collected_again(zoo: Any, collected: Any, capsys: Any, monkeypatch: Any) -> None:
    before = zoo.container.read(collected.out / "llama.npz.xz")
    monkeypatch.setattr(zoo.making, "train", None)
    monkeypatch.setattr(zoo.collect.Collector, "_rows", None)
    zoo.making.make(collected)
    after = zoo.container.read(collected.out / "llama.npz.xz")
    assert all(
        np.array_equal(before[name], after[name], equal_nan=True) for name in before if before[name].dtype.kind != "U"
    )


def test_packed_runs_keep_windows_where_they_had_every_step(zoo: Any, collected: Any, tmp_path: Path) -> None:
    options = {"every_step": 1, "bits": 7, "without": ["attention_middle"]}
    zoo.pack.pack_folder(collected.out, tmp_path, ["llama"], **options)
    whole, packed = zoo.store.load("llama", collected.out), zoo.store.load("llama", tmp_path)
    assert sum(bool(run.layers) for run in packed if run.group == "healthy") == 1
    compared = 0
    for one, other in zip(whole, packed, strict=True):
        assert np.array_equal(one.tokens, other.tokens)
        assert (one.group, one.number, one.kl, one.right) == (other.group, other.number, other.kl, other.right)
        assert other.columns["entropy"] == pytest.approx(one.columns["entropy"], rel=2**-7, nan_ok=True)
        assert "attention_middle" not in other.layers
        for signal in ("log2_norm", "log2_gain", "layer_transformation", "attention_entropy"):
            mine, theirs = one.windows(signal), other.windows(signal)
            if theirs is not None and other.group in ("healthy", "fault"):
                assert theirs.median == pytest.approx(mine.median, rel=0.02, abs=0.02, nan_ok=True), signal
                compared += mine.median.size
        if other.group in ("structured", "task", "loop"):
            assert other.windows("log2_norm") is None
    assert compared > 100
    assert "llama: LlamaForCausalLM, 2 layers" in zoo.overview.overview(tmp_path)


def test_training_again_gives_the_same_weights(zoo: Any, corpus_file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    plan = zoo.making.planned(
        zoo.options.parser().parse_args(["train", "qwen3", "out", "--corpus", "none.xz", "--toy", "--steps", "2"])
    )
    text = zoo.corpus.read(corpus_file)
    first, second = (zoo.train.train(plan, text, "cpu", tmp_path / part).model.state_dict() for part in "ab")
    monkeypatch.setattr(zoo.train, "trained_tokenizer", None)  # the next model of this vocabulary takes the same one
    third = zoo.train.train(plan, text, "cpu", tmp_path / "a").model.state_dict()
    torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first[name], second[name]) and torch.equal(first[name], third[name]) for name in first)
    assert sorted(part.name for part in (tmp_path / "a").iterdir())[0].startswith("tokens-500-256-")


def test_fewer_runs_are_the_same_runs(zoo: Any, collected: Any, tmp_path: Path) -> None:
    arrays = zoo.container.read(collected.out / "llama.npz.xz")
    group = arrays["run/group"]
    keep = np.ones(len(group), bool)
    keep[np.flatnonzero(group == zoo.shard.GROUPS.index("healthy"))[::2]] = False
    keep[np.flatnonzero(group == zoo.shard.GROUPS.index("fault"))[::3]] = False
    zoo.container.write(tmp_path / "llama.npz.xz", zoo.pack.selected(arrays, keep))
    whole = {run.number: run for run in zoo.store.load("llama", collected.out)}
    fewer = zoo.store.load("llama", tmp_path)
    assert len(fewer) == keep.sum() < len(whole)
    for run in fewer:
        one = whole[run.number]
        assert (run.group, run.kind, run.fault, run.right) == (one.group, one.kind, one.fault, one.right)
        assert np.array_equal(run.tokens, one.tokens)
        assert all(np.array_equal(run.counts[name], one.counts[name]) for name in one.counts)
        assert all(np.array_equal(run.layers[name], one.layers[name], equal_nan=True) for name in one.layers)
        mine, theirs = run.windows("log2_gain"), one.windows("log2_gain")
        assert np.array_equal(mine.largest, theirs.largest, equal_nan=True)
        assert [sample.surprisal for sample in run.samples] == [sample.surprisal for sample in one.samples]
    keep[group == zoo.shard.GROUPS.index("task")] = False
    with pytest.raises(ValueError, match="samples"):
        zoo.pack.selected(arrays, keep)


def test_the_fast_look_lets_every_loop_through(zoo: Any) -> None:
    draw, words, loops = Random(1), [f"w{n:02}ord{'s' * (n % 4)}" for n in range(40)], 0
    for _ in range(150):
        text = " ".join(draw.choices(words, k=draw.randint(5, 40))) + " "
        copy = " ".join(draw.choices(words, k=draw.randint(2, 8))) + " "
        for _ in range(draw.randint(1, 6)):
            text += copy[: draw.randint(len(copy) - 8, len(copy))] + draw.choice(["", "", "x", "new "])
        text = text[: len(text) - draw.randint(0, 6)]
        if zoo.rows.loop_onset(text) is not None:
            loops += 1
            assert zoo.rows.may_loop(text), text
    assert loops > 30
    assert not zoo.rows.may_loop("nothing here is said again, not even twice or three times over.")
