"""`corevital run --prompts`: each prompt of a set is asked once, and a run that was broken off goes on."""

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

from opentelemetry.trace import Span
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .._internal.error_text import error_name
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..catalogue import prompt_names
from ..catalogue.fitting import fitting
from ..config import load_settings
from ..instrumentation.chats import last_user_text
from ..loading.models import LoadedModel, load_model
from ..run import Run
from ..store import RunSource, RunSummary, open_store
from ..store.database import store_path
from .generation import GenerationRequest, generate
from .graders import is_met
from .own_telemetry import named_experiment
from .printing import echo, error_console
from .prompt_set import SetPrompt
from .prompt_set_identity import request_hashes
from .prompt_set_options import PromptSet
from .prompt_set_results import PromptOutcome, SetResults
from .run_places import Destination, ModelSource

_FIRST: Final = 3
"""Prompts that fail, all of the first so many, end it: the next ones would fail, too."""
_MOST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class PromptNote:
    """A judgement that says on a run's span which prompt it answers; it judges nothing but what was expected."""

    prompt: SetPrompt
    request_hash: str
    tokenizer: Any
    content: bool
    """Whether what is expected and the metadata are said, too."""

    @property
    def role(self) -> str:
        """Return a name of its own."""
        return "prompt_set"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Add the event. It has the time of the start, since it was known then."""
        prompt = self.prompt
        said: dict[str, Any] = {
            prompt_names.PROMPT_ID: prompt.id,
            prompt_names.PROMPT_REQUEST_HASH: self.request_hash,
            prompt_names.PROMPT_EXPECTED_FOUND: self._found(run),
        }
        if prompt.expected:
            said[prompt_names.PROMPT_GRADER] = str(prompt.grader)
        if self.content:
            said[prompt_names.PROMPT_EXPECTED] = list(prompt.expected) or None
            said[prompt_names.PROMPT_METADATA] = prompt.metadata
        span.add_event(prompt_names.PROMPT_EVENT, fitting(said), run.start_ns)

    def _found(self, run: Run) -> bool | None:
        if not self.prompt.expected or run.output_tokens is None:
            return None
        answer = self.tokenizer.decode(run.tokens.tolist(), skip_special_tokens=True)
        found = is_met(self.prompt.grader, self.prompt.expected, answer)
        if found is None:
            echo(
                f"prompt {self.prompt.id}: its regular expression takes too long over the answer, so it is not graded; "
                "write one without nested repeats.",
                err=True,
            )
        return found


def answer_set(
    source: ModelSource, request: GenerationRequest, destination: Destination, asked: PromptSet, *, quiet: bool
) -> SetResults:
    """Let a model answer what is not stored yet; return what is stored of each prompt then.

    Args:
        source: the model.
        request: how each prompt is answered; its text is not used.
        destination: a store, and where else runs go.
        asked: the prompts.
        quiet: whether no progress is shown.

    Raises:
        UserError: if the model cannot be loaded or answers nothing.
        StoreError: if the store cannot be written to, which is known before the model is loaded.
    """
    database = destination.sink.database
    if database is None:
        raise UserError("--prompts goes on from its store, and here is none.")
    if request.chat is False and any(prompt.messages for prompt in asked.prompts):
        raise UserError("--raw leaves the chat template out, and messages of the prompt set need it.")
    experiment = named_experiment(destination.experiment)
    hashes = _hashes(source, request, asked.prompts, experiment)
    sequences = int(request.generation.get("num_return_sequences") or 1)
    with destination.sink.ready():
        before = set() if asked.again else {one for one, runs in _stored(database, hashes, sequences).items() if runs}
        todo = [pair for pair in zip(asked.prompts, hashes, strict=True) if pair[1] not in before]
        status = error_console(quiet=quiet or not sys.stderr.isatty())
        failed: dict[str, str] = {}
        sent: list[str] = []
        try:
            if todo:
                failed, sent = _ask(source, request, destination, todo, status)
        except KeyboardInterrupt:
            told = sum(map(bool, _stored(database, hashes, sequences).values()))
            echo(
                f"{told} of {len(hashes)} prompts are answered and stored in {database}; the same command goes on.",
                err=True,
            )
            raise
    runs = _stored(database, hashes, sequences)
    outcomes = [
        PromptOutcome(prompt, runs[one], before=one in before, why=failed.get(one))
        for prompt, one in zip(asked.prompts, hashes, strict=True)
    ]
    return SetResults(outcomes, database, experiment, sent)


def _hashes(
    source: ModelSource, request: GenerationRequest, prompts: Sequence[SetPrompt], experiment: str | None
) -> list[str]:
    asked = {
        **source.identity(),
        "decoding": request.generation,
        "seed": request.seed,
        "chat": request.chat,
        "experiment": experiment,
    }
    return request_hashes(prompts, asked, load_settings(request.options))


def _stored(database: str, hashes: Sequence[str], sequences: int) -> dict[str, list[RunSummary]]:
    """Return the runs of each request: those of its newest call that is whole, none where there is none."""
    if not os.path.exists(store_path(database)):
        return {one: [] for one in hashes}
    with open_store(database) as store:
        return {one: _whole_call(store, one, sequences) for one in hashes}


def _whole_call(store: RunSource, request_hash: str, sequences: int) -> list[RunSummary]:
    calls: dict[str, list[RunSummary]] = {}
    for run in store.runs(request_hash=request_hash, limit=None):  # the newest first
        calls.setdefault(run.trace_id, []).append(run)
    whole = (runs for runs in calls.values() if len(runs) >= sequences and not any(run.broken_off for run in runs))
    return sorted(next(whole, []), key=lambda run: run.sequence_index)


def _ask(
    source: ModelSource,
    request: GenerationRequest,
    destination: Destination,
    todo: Sequence[tuple[SetPrompt, str]],
    status: Console,
) -> tuple[dict[str, str], list[str]]:
    """Ask prompts one after the other; return why which failed, by the hash of its request, and where spans went."""
    with status.status(f"Loading {source.name} ..."):
        loaded = load_model(source.name, device=source.device, dtype=source.dtype, revision=source.revision)
    _check_messages(loaded, [prompt for prompt, _ in todo])
    telemetry = destination.telemetry(destination.sink.database)
    content = load_settings(request.options).content_on_span
    failed: dict[str, str] = {}
    try:
        with closing(_shown(todo, status)) as prompts:
            for tried, (prompt, one) in enumerate(prompts, 1):
                note = PromptNote(prompt, one, loaded.tokenizer, content)
                text = prompt.text if prompt.messages is None else last_user_text(prompt.messages)
                asked = replace(request, text=text, messages=prompt.messages, judgements=(note,))
                try:
                    generate(loaded, asked, telemetry, Console(quiet=True))
                except Exception as error:  # whatever the model makes of this prompt; the others may do
                    failed[one] = _reason(error)
                    if tried == len(failed) == min(_FIRST, len(todo)):
                        raise UserError(f"{source.name} cannot answer: {failed[one]}") from error
                telemetry.memory.clear()  # a long set would fill the memory
                if problem := telemetry.storing_failed():
                    raise problem
    finally:
        telemetry.close()
    if problem := telemetry.storing_failed():
        raise problem
    return failed, telemetry.otlp_outcome()


def _reason(error: Exception) -> str:
    told = str(error) if isinstance(error, UserError) else f"{error_name(error)}: {error}"
    return one_line(told.removesuffix("."), _MOST_REASON)


def _check_messages(loaded: LoadedModel, prompts: Sequence[SetPrompt]) -> None:
    """Refuse messages that no template makes tokens of, before the first prompt is asked."""
    first = next((prompt for prompt in prompts if prompt.messages is not None), None)
    if first is not None and getattr(loaded.tokenizer, "chat_template", None) is None:
        raise UserError(
            f"--prompts, line {first.line}: messages need a chat template, which the tokenizer of {loaded.name} has "
            "not; give it a prompt."
        )


def _shown(todo: Sequence[tuple[SetPrompt, str]], status: Console) -> Generator[tuple[SetPrompt, str], None, None]:
    """Yield what is asked, with a bar on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=status, transient=True, disable=status.quiet) as progress:
        task = progress.add_task("", total=len(todo))
        for each in todo:
            progress.update(task, description=f"Prompt {each[0].id}")
            yield each
            progress.advance(task)
