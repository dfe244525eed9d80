"""The judgements as span processors: each calls one assessment, keeps its result on the run and sets its attributes.

A judgement is a class with a `role` and `on_run_ending(span, run)`. The recorder calls it once per generated sequence
while the span still records, since the SDK freezes a span's attributes before `SpanProcessor` methods see its end.
A user replaces one of ours by giving another of the same role, either to `instrument(judgements=[...])` or to the
tracer provider with `add_span_processor` (then derive from `Judgement`, whose `on_start` enlists it for the call).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final, Protocol, runtime_checkable

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import Span

from .. import semconv
from .._internal.baseline_use import BaselineUse
from ..assessment.answer_risk import answer_model, judge_answer
from ..assessment.blame import judge_blame
from ..assessment.compound import judge_compound
from ..assessment.early_warning import judge_early_warning, lasting
from ..assessment.ending import failed_by_numbers, was_in_loop
from ..assessment.fingerprint import judge_fingerprint
from ..assessment.health import judge_health
from ..assessment.narrative import tell
from ..assessment.risk import judge_risk
from ..assessment.thresholds import DEFAULT, Thresholds
from ..assessment.usual import entropy_is_often_high
from ..assessment.verdict_attributes import verdict_attributes
from ..baselines.learner import LEARNER
from ..baselines.lookup import AUTO, FoundProfile, Profiles
from ..catalogue.fitting import fitting
from ..catalogue.verdicts import FLAGS, HIGH_ENTROPY_SHARE
from ..config import Settings
from ..run import ModelInfo, Run

ROLES: Final = ("health", "early_warning", "compound", "risk", "answer", "blame", "fingerprint", "narrative")
"""The order in which judgements are made; other roles come after them."""

ENLISTED_KEY: Final = otel_context.create_key("corevital-enlisted-judgements")
"""Context key of the list to which judgements on the tracer provider append themselves as a call's span starts."""


@runtime_checkable
class RunJudgement(Protocol):
    """What a judgement must be."""

    @property
    def role(self) -> str:
        """Return what it judges: one of `ROLES`, or a name of its own."""

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Judge a finished run whose span still records (or never did)."""


class Judgement(SpanProcessor):
    """Base class of judgements that can also be added to a tracer provider.

    Attributes:
        role: what it judges. One of the seven roles takes the place of CoreVital's own; any other comes after them.
    """

    role: ClassVar[str] = "other"

    def on_start(self, span: SDKSpan, parent_context: otel_context.Context | None = None) -> None:
        """Enlist for the call whose span starts, if it is one."""
        del span
        enlisted = otel_context.get_value(ENLISTED_KEY, parent_context) if parent_context is not None else None
        if isinstance(enlisted, list):
            enlisted.append(self)

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Judge a finished run whose span still records (or never did)."""
        raise NotImplementedError(f"{type(self).__name__} does not judge: it needs on_run_ending(span, run)")


class Profiled(Judgement):
    """A judgement that also knows what is usual for the run's model.

    Args:
        thresholds: what it compares with.
        profiles: where the models' baseline profiles come from; None: without any.
    """

    def __init__(self, thresholds: Thresholds = DEFAULT, profiles: Profiles | None = None) -> None:
        self._thresholds = thresholds
        self._profiles = profiles

    def _thresholds_of(self, span: Span, run: Run) -> Thresholds:
        """Return the thresholds with the profile of the run's model.

        `run.baseline` says which it is, `absent` why one that exists is not used, and the span how one that is used
        differs from the model.
        """
        if self._profiles is None:
            return self._thresholds
        found = self._profiles.of_run(run)
        run.baseline = BaselineUse(found.source, found.runs, found.tokens)
        if found.reason is not None:
            run.absent["profile"] = found.reason
        span.set_attributes(fitting({semconv.PROFILE_DIFFERENCES: list(found.differences) or None}))
        return _with_baseline(self._thresholds, found)

    def while_it_goes_on(self, model: ModelInfo) -> tuple[Thresholds, Callable[[Run], None]]:
        """Return the thresholds for the steps of a model's run that begins, and what holds the finished run to them.

        More may be learned meanwhile, but what a stream was told and what the span says are the same.
        """
        if self._profiles is None:
            return self._thresholds, _as_it_is
        found = self._profiles.of(model)
        return _with_baseline(self._thresholds, found), partial(self._profiles.judge_with, found)


def _as_it_is(_run: Run) -> None:
    """Do nothing: there is no baseline."""


def _with_baseline(thresholds: Thresholds, found: FoundProfile) -> Thresholds:
    return replace(thresholds, profile=found.profile, limit=found.limit, answer=found.answer)


def judges_steps(judgements: Sequence[RunJudgement]) -> Profiled | None:
    """Return whose thresholds a run's steps are judged with as they come; None where no judgement of CoreVital's is."""
    own = {each.role: each for each in judgements if isinstance(each, Profiled)}
    return own.get("early_warning") or own.get("health")


class HealthProcessor(Profiled):
    """Health flags with their evidence, and the count of high-entropy steps.

    Args:
        thresholds: what the flags compare with; `high_entropy_bits`, where it is given, is for the count.
        profiles: where the models' baseline profiles come from; None: without any.
    """

    role: ClassVar[str] = "health"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Judge the run's health."""
        thresholds = self._thresholds_of(span, run)
        health = run.health = judge_health(run, thresholds)
        run.absent.update(health.absent)
        if entropy_is_often_high(run, thresholds) and not failed_by_numbers(run):
            run.warn([HIGH_ENTROPY_SHARE])
        span.set_attributes(verdict_attributes(run, "health"))


class EarlyWarningProcessor(Profiled):
    """What warned while the run went on.

    Args:
        thresholds: what the warnings compare with; `margin_collapsed`, say.
        profiles: where the models' baseline profiles come from; None: without any.
    """

    role: ClassVar[str] = "early_warning"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Replay the run through the early-warning monitor."""
        warning = run.early_warning = judge_early_warning(run, self._thresholds_of(span, run))
        run.absent.update(warning.absent)
        run.warn(lasting(warning))
        span.set_attributes(verdict_attributes(run, "early_warning"))


class CompoundProcessor(Profiled):
    """Signals made of several numbers.

    Args:
        thresholds: what the signals compare with; `confusion_margin`, say.
        profiles: where the models' baseline profiles come from; None: without any, and without `context_loss`.
    """

    role: ClassVar[str] = "compound"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Judge what several numbers say together."""
        run.compound, absent = judge_compound(run, self._thresholds_of(span, run))
        run.absent.update(absent)
        run.warn([signal.name for signal in run.compound])
        span.set_attributes(verdict_attributes(run, "compound"))


class RiskProcessor(Judgement):
    """The risk score, its level and its factors.

    The score is computed from `run.health`, so its thresholds are those of the health judgement.

    Args:
        thresholds: `risk_medium` and `risk_high`, from which the level is that.
    """

    role: ClassVar[str] = "risk"

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Compute the risk from the run's health."""
        risk = run.risk = judge_risk(run, self._thresholds)
        if risk is None:
            run.absent["risk"] = run.absent.get("entropy", "nothing was generated")
            return
        span.set_attributes(verdict_attributes(run, "risk"))


class AnswerProcessor(Profiled):
    """The probability that the answer is wrong, and how far each feature moved it.

    Args:
        thresholds: `answer`, where there are no profiles.
        profiles: where the models' baseline profiles come from: one may have an answer risk that was fitted on labels.
    """

    role: ClassVar[str] = "answer"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Compute it from the run's distributions."""
        answer = run.answer = judge_answer(run, answer_model(self._thresholds_of(span, run)))
        if answer.reason is not None:
            run.absent["answer_risk"] = answer.reason
        span.set_attributes(verdict_attributes(run, "answer"))


class BlameProcessor(Profiled):
    """The layers that stand out.

    Args:
        thresholds: `limit`, where there are no profiles.
        profiles: where the models' baseline profiles come from; None: without any. Where health was judged before, the
            deviations that it found are used.
    """

    role: ClassVar[str] = "blame"

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Find the layers to blame."""
        blame = run.blame = judge_blame(run, self._thresholds_of(span, run))
        if blame is None:
            run.absent["blame"] = run.absent.get("hidden_states", "no layer was measured")
            return
        span.set_attributes(verdict_attributes(run, "blame"))


class FingerprintProcessor(Judgement):
    """How the run behaved, as a vector; hashes of the prompt and of the run's identity.

    Args:
        hashed: whether the prompt and the run are hashed.
        key: of an HMAC; None: a hash that whoever knows the prompt can make, too.
    """

    role: ClassVar[str] = "fingerprint"

    def __init__(self, *, hashed: bool = True, key: str | None = None) -> None:
        self._hashed = hashed
        self._key = key

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Compute the vector, and hash the prompt, if it is known."""
        fingerprint = run.fingerprint = judge_fingerprint(run, hashed=self._hashed, key=self._key)
        run.absent.update(fingerprint.absent)
        span.set_attributes(verdict_attributes(run, "fingerprint"))


class NarrativeProcessor(Judgement):
    """The run in two to four sentences.

    Args:
        thresholds: `high_entropy_bits`, which the text names where it is given. Give it what the health judgement has.
    """

    role: ClassVar[str] = "narrative"

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Tell the run from the judgements that were made before."""
        run.narrative = tell(run, self._thresholds)
        span.set_attributes(verdict_attributes(run, "narrative"))


class Teacher:
    """Hands finished runs over to what learns the baseline of their model, where there is no other source of one.

    Args:
        profiles: where the models' baselines come from.
    """

    role: ClassVar[str] = "baseline"

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Hand the run over, once everything else is judged."""
        pupil = self._profiles.of_run(run).pupil
        if pupil is None or run.health is None or run.error_type is not None:
            return
        teaches = not run.health.raised() and not was_in_loop(run)
        if teaches or set(run.health.raised()) <= _OF_LAYERS:
            LEARNER.hand_over(pupil, run, teaches=teaches)


_OF_LAYERS: Final = frozenset(flag.name for flag in FLAGS if flag.about == "layers")
"""Flags that rest on the baseline."""


def default_judgements(settings: Settings) -> list[RunJudgement]:
    """Return CoreVital's own judgements under these settings.

    Raises:
        ProfileError: if the setting names a profile that is not there or damaged.
    """
    thresholds = Thresholds(high_entropy_bits=settings.chosen_entropy_bits)
    baseline = settings.chosen_baseline
    profiles = Profiles(baseline)
    return [
        HealthProcessor(thresholds, profiles),
        EarlyWarningProcessor(thresholds, profiles),
        CompoundProcessor(thresholds, profiles),
        RiskProcessor(thresholds),
        AnswerProcessor(thresholds, profiles),
        BlameProcessor(thresholds, profiles),
        FingerprintProcessor(
            hashed=settings.prompt_hash != "off",
            key=settings.hash_key if settings.prompt_hash == "hmac" else None,
        ),
        NarrativeProcessor(thresholds),
        *([Teacher(profiles)] if baseline == AUTO else []),
    ]


def in_order(defaults: Sequence[RunJudgement], others: Sequence[RunJudgement]) -> list[RunJudgement]:
    """Return the judgements of a run in the order of their roles; others take the place of defaults of their role."""
    replaced = {judgement.role for judgement in others}
    chosen = [judgement for judgement in defaults if judgement.role not in replaced] + list(others)
    rank = {role: position for position, role in enumerate(ROLES)}
    return sorted(chosen, key=lambda judgement: rank.get(judgement.role, len(ROLES)))
