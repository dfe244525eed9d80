"""Pickles and stores of before the modules moved (tests/support/pickles_0_1) open and are what they were."""

import json
import lzma
import pickletools
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital._internal.moved_names import _PACKAGE, MOVED, spec_of
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT
from opentelemetry_instrumentation_corevital.store import RunOrder
from tests.support.pickles_0_1.plain_values import plain

DATA = Path(__file__).parent.parent / "support" / "pickles_0_1"
PLAIN = json.loads((DATA / "plain.json").read_text(encoding="utf-8"))
OF_GENERATION = ("generation-lists", "model")
"""Pickles that have classes of transformers, too."""

READ = """
import json, pickle, runpy, sys
from pathlib import Path
plain = runpy.run_path("plain_values.py")["plain"]
for name in sys.argv[1:]:
    try:
        found = plain(pickle.loads(Path(f"{name}.pkl").read_bytes()))
    except ModuleNotFoundError as error:
        found = str(error)
    print(json.dumps(found))
"""
WITHOUT_THE_TABLE = f"""
import sys
import {_PACKAGE}
sys.meta_path.remove({_PACKAGE}._NamesOfBefore)
"""


def python(program: str, *arguments: str) -> list[str]:
    """Run a program in a fresh process, in the folder of the pickles; return the lines that it prints."""
    command = [sys.executable, "-W", "error::ImportWarning", "-c", program, *arguments]
    found = subprocess.run(command, cwd=DATA, capture_output=True, text=True, timeout=180, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def named_by(file: str) -> set[str]:
    """Return the modules that a pickle names among its texts."""
    texts = [str(argument) for _, argument, _ in pickletools.genops((DATA / file).read_bytes())]
    return {text.removeprefix(f"{_PACKAGE}.") for text in texts if text.startswith(f"{_PACKAGE}.")}


MOVED_IN = {name: named_by(f"{name}.pkl") & set(MOVED) for name in PLAIN}


NOTHING = (None, [], {}, {"tuple": []})
AS_TODAY = {**plain(DEFAULT)["Thresholds"], "order": plain(RunOrder.NEWEST)}
"""What today has beside what was pickled: thresholds, and the one order that lists had."""


def as_before(found: Any, before: Any) -> Any:
    """Return what was found without what there is in addition today: nothing, or what is so by default."""
    if isinstance(found, dict) and isinstance(before, dict):
        kept = {
            name: value
            for name, value in found.items()
            if name in before or (value not in NOTHING and value != AS_TODAY.get(name))
        }
        return {name: as_before(value, before.get(name)) for name, value in kept.items()}
    if isinstance(found, list) and isinstance(before, list) and all(each is None for each in found[len(before) :]):
        return [as_before(*each) for each in zip(found, before, strict=False)]
    return found


def test_pickles_of_before_open_in_a_fresh_process_and_are_what_they_were() -> None:
    names = sorted(set(PLAIN) - set(OF_GENERATION))
    for name, line in zip(names, python(READ, *names), strict=True):
        assert as_before(json.loads(line), PLAIN[name]) == PLAIN[name], name


def test_without_the_table_those_that_name_an_old_module_do_not_open() -> None:
    names = sorted(name for name, modules in MOVED_IN.items() if modules)
    assert len(names) >= 8
    for name, line in zip(names, python(WITHOUT_THE_TABLE + READ, *names), strict=True):
        assert json.loads(line) in [f"No module named '{_PACKAGE}.{module}'" for module in MOVED_IN[name]]


def test_a_model_and_lists_that_were_pickled_while_instrumented_name_nothing_of_ours() -> None:
    for file in ("model.pkl", "model.pt", "generation-lists.pkl"):
        assert b"corevital" not in (DATA / file).read_bytes().lower()


def test_a_model_of_before_opens_and_generates_with_what_was_measured_then() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if not transformers.__version__.startswith("5."):
        pytest.skip("transformers 5 made the pickled model")
    import pickle

    from tests.support.pickles_0_1.plain_values import plain

    lists = pickle.loads((DATA / "generation-lists.pkl").read_bytes())
    assert plain(lists) == PLAIN["generation-lists"]
    ids = torch.tensor([[5, 6, 7]])
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
    pickled = pickle.loads((DATA / "model.pkl").read_bytes())
    loaded = torch.load(DATA / "model.pt", weights_only=False)
    assert torch.equal(pickled.generate(ids, **options), loaded.generate(ids, **options))


def test_every_entry_is_needed_by_a_pickle_and_leads_to_a_name() -> None:
    named = set().union(*MOVED_IN.values())
    for module, names in MOVED.items():
        assert find_spec(f"{_PACKAGE}.{module}").loader is spec_of(f"{_PACKAGE}.{module}").loader, (
            f"{module} is there again"
        )  # type: ignore[union-attr]
        if "__main__" in names:
            continue
        assert module in named, module
        old = import_module(f"{_PACKAGE}.{module}")
        for name, place in names.items():
            new_module, _, new_name = place.partition(":")
            new = import_module(f"{_PACKAGE}.{new_module}")
            assert getattr(old, name) is getattr(new, new_name or name)
            assert new.__spec__.name == new.__name__


def test_an_old_module_has_nothing_else() -> None:
    with pytest.raises(ImportError, match="no_such"):
        from opentelemetry_instrumentation_corevital.rag import no_such  # type: ignore[import-not-found] # noqa: F401
    for module in ("no_such", "store.no_such", "capture.taps"):
        with pytest.raises(ModuleNotFoundError):
            import_module(f"{_PACKAGE}.{module}")


def test_importing_an_old_module_loads_neither_its_successor_nor_torch() -> None:
    program = f"""
import sys
import {_PACKAGE}.calibration.find, {_PACKAGE}.store.stored, {_PACKAGE}.rag
assert "torch" not in sys.modules and "{_PACKAGE}.instrumentation.rag" not in sys.modules
assert sum(getattr(each, "__name__", "") == "_NamesOfBefore" for each in sys.meta_path) == 1
"""
    python(program)


def test_a_program_of_before_runs() -> None:
    old, new = (
        subprocess.run([sys.executable, "-m", f"{_PACKAGE}.{module}", "--help"], capture_output=True, check=False)
        for module in ("cli.models", "loading.models")
    )
    assert (old.returncode, old.stdout) == (new.returncode, new.stdout)
    assert b"No module" not in old.stderr + new.stderr


def test_a_store_of_before_opens_with_the_same_run(tmp_path: Path) -> None:
    from opentelemetry_instrumentation_corevital.store import open_store
    from opentelemetry_instrumentation_corevital.store.database import open_database
    from tests.support.pickles_0_1.plain_values import plain

    path = tmp_path / "store.db"
    path.write_bytes(lzma.decompress((DATA / "store.db.xz").read_bytes()))
    open_database(path).close()  # as whatever writes to it does
    with open_store(path) as store:
        stored: Any = plain(store.run("last"))
        assert as_before(stored, PLAIN["stored-run"]) == PLAIN["stored-run"]
        assert as_before(plain(store.runs()), PLAIN["run-list"]) == PLAIN["run-list"]
