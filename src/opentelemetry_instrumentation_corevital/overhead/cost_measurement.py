"""What CoreVital costs on one model: a first pass for the memory, rounds for the times, and what was found so far."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..config import SettingsError
from .arms import ARMS, CONTROL, PLAIN
from .bench import Bench
from .measured_place import compiled_graphs, environment
from .overhead_error import OverheadError
from .pair_figures import MIB, outcome
from .pairs import WARMUP_TOKENS, Pair, calls_of_a_round, rounds
from .random_prompt import random_prompt

FORMAT: Final = "corevital cost 1"
SEED: Final = 0
"""Of the prompt and of the order of calls."""

_MEASURED: Final = {"enabled": True, "capture_ratio": 1.0}
"""Else a setting of the environment could leave out the calls that are to be measured."""


@dataclass(frozen=True, slots=True)
class CostWorkload:
    """What each call generates, for all arms the same."""

    batch: int
    prompt_tokens: int
    new_tokens: int


class CostMeasurement:
    """Calls of one model in several arms, and what they took.

    Args:
        model: on its device, not instrumented.
        arms: names of `ARMS`, beside plain and its control.
        workload: of each call.

    Raises:
        OverheadError: if the model has too few positions.
    """

    def __init__(self, model: Any, arms: Sequence[str], workload: CostWorkload) -> None:
        prompt = random_prompt(model, workload.batch, workload.prompt_tokens, workload.new_tokens, SEED)
        self._arms = tuple(arms)
        self._workload = workload
        self._place = environment(model.device)
        self._bench = Bench(model, prompt, workload.new_tokens, settings=_MEASURED)
        self._process: dict[str, float] = {}
        self._pairs: dict[str, list[Pair]] = {}
        self._graphs = 0
        self._sent: dict[str, Any] = {}

    @property
    def rounds_done(self) -> int:
        """How many rounds are over."""
        return min(map(len, self._pairs.values()), default=0)

    def calls(self, most: int) -> int:
        """Return how many calls the first pass and so many rounds are."""
        return len(self._first_calls()) + most * calls_of_a_round(self._arms)

    def on_call(self, told: Callable[[], None]) -> None:
        """Let a function be called after each call."""
        self._bench.on_call = told

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Send telemetry while this is open.

        Raises:
            OverheadError: for what the model cannot do, and where exports failed.
        """
        import torch

        try:
            yield
        except SettingsError:
            raise
        except torch.OutOfMemoryError as error:
            raise OverheadError(
                f"--batch {self._workload.batch}: the model's calls do not fit into the memory of "
                f"{self._bench.prompt.device}; ask for less, also of --prompt-tokens: {error}"
            ) from error
        except (ValueError, NotImplementedError) as error:
            raise OverheadError(f"--model: cannot generate so: {error}") from error
        finally:
            self._sent = self._bench.telemetry.shutdown()

    def first_pass(self) -> None:
        """Run every arm once: plain first, then those that add more and more, so that what stays is seen once."""
        for name, tokens in self._first_calls():
            self._process[name] = self._bench.run(ARMS[name], tokens).process_peak / MIB

    def rounds(self, most: int) -> Iterator[int]:
        """Run timed rounds; yield the number of each when it is over."""
        before = compiled_graphs()
        for number, pairs in enumerate(rounds(self._bench, self._arms, most=most, seed=SEED), 1):
            self._pairs = pairs
            self._graphs = compiled_graphs() - before
            yield number

    def report(self) -> dict[str, Any]:
        """Return what was found in the rounds so far, of which there has to be one; after `measuring`."""
        model, found = self._bench.model, outcome(self._pairs)
        for name, peak in self._process.items():
            if name in found["arms"] and peak:
                found["arms"][name]["process_mib_above_plain"] = round(peak - self._process[PLAIN], 2)
        return {
            "format": FORMAT,
            "workload": {
                **asdict(self._workload),
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
                "attention": model.config._attn_implementation,
            },
            "method": {"rounds": self.rounds_done, "seed": SEED},
            "environment": self._place,
            "telemetry": self._sent,
            "graphs_compiled_in_the_rounds": self._graphs,
            "process_peak_mib": round(self._process[PLAIN], 2) or None,
            **found,
        }

    def _first_calls(self) -> list[tuple[str, int]]:
        tokens = self._workload.new_tokens
        return [(PLAIN, min(tokens, WARMUP_TOKENS)), *((name, tokens) for name in (PLAIN, CONTROL, *self._arms))]
