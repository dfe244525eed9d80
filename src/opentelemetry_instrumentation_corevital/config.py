"""Settings: every option, its environment variable, its default; validated once, before anything is patched."""

import difflib
import functools
import logging
import os
import threading
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ._internal.forks import held_by_forks
from ._internal.layer_selection import LayerSelection
from ._internal.short_repr import call_like
from ._internal.unknown_variables import PREFIX as ENV_PREFIX
from ._internal.unknown_variables import UnknownVariable, unknown_variables
from .catalogue.alternative_names import RANKS
from .policies import stop_on

logger = logging.getLogger(__name__)
# pydantic sets things up in the first validation, behind a lock of its own: for a process forked meanwhile that would
# never come free. Again from the same thread: a signal handler may read settings.
_validating = held_by_forks(threading.RLock())
_warned_of = set[str]()

CONTENT_ENV = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

SUMMARY_ATTENTION_EVERY = 8
"""In mode `summary` attention is looked at on every so many-th step."""

PromptAnalysisMode = Literal["off", "summary", "full"]
CaptureMode = Literal["summary", "full", "on_risk"]
ContentMode = Literal["no_content", "span_only", "event_only", "span_and_event"]
ConsoleStyle = Literal["compact", "panel", "json"]
BannerMode = Literal["auto", "on", "off"]


BASELINE_NAMES: Final = ("baseline", "profile")
"""One option under two names."""


class SettingsError(ValueError):
    """A setting has a bad value; the message names the option, where it came from, and what is allowed."""


class Settings(BaseSettings):
    """All options. Option `x` is the keyword `x` of `instrument()` and the variable `OTEL_COREVITAL_X`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, case_sensitive=False
    )

    enabled: bool = Field(True, description="false: nothing is patched")
    capture: CaptureMode = Field("summary", description="how much is reported of a run")
    capture_ratio: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, description="share of the calls that are measured, by their trace id"
    )
    kernels: Literal["auto", "off"] = Field(
        "auto", description="fused Triton kernels on CUDA where they run; off: torch's own operations everywhere"
    )
    attention_every: int | None = Field(
        None, ge=0, description="attention is looked at on every n-th step; 0: never; default 8 in summary, else 1"
    )
    prompt_analysis: PromptAnalysisMode = Field(
        "off",
        description="what is told of the prompt as the model reads it: `summary`: how surprising each token is, what "
        "the layers do to it, whether its middle is attended to; `full`: also which tokens each head attends to most",
    )
    layers: str = Field("all", description="layers that are looked at: `all`, or indices and ranges: `0,4..7,-1`")
    capture_unsampled: bool = Field(
        False, description="true: measure and judge runs whose span is not recorded too (metrics only)"
    )
    capture_message_content: ContentMode = Field(
        "no_content",
        validation_alias=CONTENT_ENV,
        description="where message text may be; the GenAI conventions' switch",
    )
    openinference: bool = Field(
        False,
        description="true: where message text may be on spans, prompt and answer also as OpenInference's `input.value` "
        "and `output.value`, which Phoenix shows in its lists",
    )
    run_data: Literal["auto", "on", "off"] = Field(
        "auto", description="every step x signal x layer as log events; `auto`: of runs that are reported in full"
    )
    step_events: Literal["span", "logs", "off"] = Field(
        "span",
        description="carrier of the `corevital.step` events; `logs`: as log events, all, while the run goes on",
    )
    max_step_events: int = Field(96, ge=0, le=96, description="largest number of `corevital.step` events of a span")
    max_span_bytes: int | None = Field(
        None, ge=4096, description="bytes of an encoded span; default 49152 in summary, 81920 in full"
    )
    high_entropy_bits: float = Field(
        4.0,
        gt=0,
        allow_inf_nan=False,
        description="entropy above it counts as high; the default only where the model has no baseline: else what 99 % "
        "of its steps are below",
    )
    baseline: str | None = Field(
        "auto",
        min_length=1,
        description="what is usual for a model: `auto`: its calibrated or packaged profile, else what is learned from "
        "its own runs as they are served; `off`: none is read or learned; or the name or path of one, and nothing is "
        "learned",
    )
    profile: str | None = Field("auto", min_length=1, description="older name of baseline; give one of them")
    risk_threshold: float = Field(
        0.7, ge=0, le=1, allow_inf_nan=False, description="capture=on_risk reports in full from this risk on"
    )
    status_on: Literal["high", "medium", "off"] = Field(
        "off",
        description="a run of this risk level or a higher one gets the span status ERROR, with its assessment as "
        "description; off: only calls that failed have it",
    )
    stop_on: str | None = Field(
        None,
        description="ends a sequence where one of these begins to be true, with commas between them: health flags such "
        "as `repetition_loop`, early warnings, `risk>0.9`, `failure_risk>0.9`, `answer>0.9`; default: nothing is ended",
    )
    max_interventions: int = Field(
        3, ge=0, description="largest number of times that policies change how one sequence goes on; ending it is free"
    )
    prompt_hash: Literal["sha256", "hmac", "off"] = Field(
        "sha256", description="how the prompt is hashed; default `hmac` where hash_key is given"
    )
    hash_key: str | None = Field(None, description="secret key of prompt_hash=hmac", repr=False)
    flush_on_sigterm: bool = Field(
        True,
        description="export what is held before SIGTERM ends a process that does not handle it: under zero-code "
        "start-up, in children of multiprocessing, and where `true` is given; false: nowhere",
    )
    console: ConsoleStyle = Field(
        "compact",
        description="what the exporter `corevital_console` prints of a run: `compact`: three lines, and one where it "
        "is no terminal; `panel`: the whole verdict; `json`: one line for programs",
    )
    banner: BannerMode = Field(
        "auto",
        description="one line at start-up, on standard error, says that CoreVital is on: `auto`: under zero-code "
        "start-up, if that is a terminal; `on`; `off`",
    )
    sqlite_path: str | None = Field(
        None, description="file of the `corevital_sqlite` exporter; default: corevital/corevital.db in the data folder"
    )
    sqlite_retention_days: float | None = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="`corevital_sqlite` removes what was stored longer ago, but for labelled runs",
    )
    sqlite_max_bytes: int | None = Field(
        2 * 1024**3,
        ge=1024**2,
        description="`corevital_sqlite` removes the oldest where the file holds more, but for labelled runs",
    )

    @field_validator("capture_message_content", "console", "banner", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("banner", mode="before")
    @classmethod
    def _of_boolean(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value  # as YAML reads on and off

    @field_validator("layers")
    @classmethod
    def _selects(cls, value: str) -> str:
        LayerSelection(value)
        return value

    @field_validator("stop_on")
    @classmethod
    def _conditions(cls, value: str | None) -> str | None:
        if value is not None:
            stop_on(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _key_is_used(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("hash_key") and "prompt_hash" not in given:
            return {**given, "prompt_hash": "hmac"}
        return given

    @model_validator(mode="before")
    @classmethod
    def _one_baseline(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("profile") is not None and given.get("baseline") is not None:
            raise ValueError(
                "baseline and profile (OTEL_COREVITAL_BASELINE, OTEL_COREVITAL_PROFILE) are two names of one option; "
                "give one of them"
            )
        return given

    @model_validator(mode="after")
    def _hmac_has_key(self) -> "Settings":
        if self.prompt_hash == "hmac" and not self.hash_key:
            raise ValueError("prompt_hash=hmac needs a key: set hash_key or OTEL_COREVITAL_HASH_KEY")
        return self

    @classmethod
    def settings_customise_sources(  # noqa: D102
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)

    def __repr__(self) -> str:
        """Return the options that were given, bounded; `str` is the same."""
        given = [name for name, each in type(self).model_fields.items() if each.repr and name in self.model_fields_set]
        return call_like(type(self).__name__, {name: getattr(self, name) for name in given})

    __str__ = __repr__

    @property
    def chosen_baseline(self) -> str:
        """Return the setting of the baseline, under whichever name it was given."""
        values = {"baseline": self.baseline, "profile": self.profile}
        return next((value for name, value in values.items() if value and name in self.model_fields_set), "auto")

    @property
    def chosen_entropy_bits(self) -> float | None:
        """Return the entropy above which a step is high, where somebody has chosen it; None: it is left to us."""
        bits = self.high_entropy_bits
        return bits if "high_entropy_bits" in self.model_fields_set else None

    @property
    def attention_steps(self) -> int:
        """Return n where attention is looked at on every n-th step, 0 where never."""
        if self.attention_every is not None:
            return self.attention_every
        return SUMMARY_ATTENTION_EVERY if self.capture == "summary" else 1

    @property
    def alternatives(self) -> int:
        """Return how many of each step's likeliest tokens are kept: of runs that may be reported in full."""
        return 0 if self.capture == "summary" else RANKS

    @property
    def content_on_span(self) -> bool:
        """Whether message text may be set on spans."""
        return self.capture_message_content in ("span_only", "span_and_event")

    @property
    def content_in_events(self) -> bool:
        """Whether message text may be in log events."""
        return self.capture_message_content in ("event_only", "span_and_event")

    @property
    def content(self) -> bool:
        """Whether content may leave the process at all."""
        return self.capture_message_content != "no_content"


def environment_variable(option: str) -> str:
    """Return the environment variable of an option."""
    return CONTENT_ENV if option == "capture_message_content" else ENV_PREFIX + option.upper()


def variables_nobody_reads() -> list[UnknownVariable]:
    """Return the environment variables that look like CoreVital's and are none."""
    return unknown_variables(os.environ, {option: environment_variable(option) for option in Settings.model_fields})


def load_settings(keywords: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings: keyword, else environment variable, else default. Warn of misspelt variables, once each.

    Raises:
        SettingsError: for an unknown keyword or a bad value, naming the option and its source.
    """
    for unknown in variables_nobody_reads():
        if unknown.name not in _warned_of:
            _warned_of.add(unknown.name)
            hint = f"did you mean {unknown.nearest}?" if unknown.nearest else "docs/configuration.md has every option"
            logger.warning("CoreVital: nothing reads the environment variable %s; %s", unknown.name, hint)
    return read_settings(keywords)


def read_settings(keywords: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings and warn of no misspelt variable.

    Raises:
        SettingsError: for an unknown keyword or a bad value, naming the option and its source.
    """
    given = dict(keywords or {})
    for name in given:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; options are {', '.join(Settings.model_fields)}"
            raise SettingsError(f"CoreVital: unknown option {name!r}{hint}")
    for name, other in (BASELINE_NAMES, BASELINE_NAMES[::-1]):
        if given.get(name) is not None:
            given.setdefault(other, None)  # a keyword goes before a variable, under either name
    if "capture_message_content" not in given and not _known_content_mode():
        given["capture_message_content"] = "no_content"
    given |= {option: default for option, default in _replaced_by_defaults().items() if option not in given}
    # The alias is what pydantic-settings reads from the environment; a keyword has to use it too.
    renamed = {CONTENT_ENV if name == "capture_message_content" else name: value for name, value in given.items()}
    try:
        with _validating:
            return Settings(**renamed)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem, given) for problem in error.errors())) from None


def settings_over(others: Settings, given: Settings, names: Collection[str]) -> Settings:
    """Return the settings `given` where they were given, under `names`, and for the rest `others`."""
    both = BASELINE_NAMES if set(names) & set(BASELINE_NAMES) else ()
    return others.model_copy(update={name: getattr(given, name) for name in {*names, *both}})


def _known_content_mode() -> bool:
    """Tell whether the GenAI conventions' switch is set to one of its values, or not at all.

    Other instrumentations read it too, some with other values: as the conventions ask, those mean no content here.
    """
    value = os.environ.get(CONTENT_ENV, "")
    known = not value or value.lower() in get_args(ContentMode)
    if not known:
        _tell_of_content_mode(value)
    return known


@functools.cache
def _tell_of_content_mode(value: str) -> None:
    """Log that a value is none of the switch's, once for each value: settings are loaded several times."""
    modes = ", ".join(mode.upper() for mode in get_args(ContentMode))
    logger.warning("%s=%s is none of %s: no content is captured", CONTENT_ENV, value, modes)


def _replaced_by_defaults() -> dict[str, str]:
    """Return the default of each option that only says what is shown, where its variable has an unknown value.

    That is no reason to leave CoreVital off; it is said once per value.
    """
    found = {}
    for option, kind, default in (("console", ConsoleStyle, "compact"), ("banner", BannerMode, "auto")):
        name = environment_variable(option)
        value = os.environ.get(name, "")
        if value and value.lower() not in get_args(kind):
            found[option] = default
            if (said := f"{name}={value}") not in _warned_of:
                _warned_of.add(said)
                allowed = ", ".join(get_args(kind))
                logger.warning("CoreVital: %s=%r is none of %s; it is taken for %s", name, value, allowed, default)
    return found


def _explain(problem: Mapping[str, Any], keywords: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return f"CoreVital: {message}"
    option = str(problem["loc"][0])
    if option.upper() == CONTENT_ENV:
        option = "capture_message_content"
    source = "keyword" if option in keywords else f"environment variable {environment_variable(option)}"
    shown = "" if option == "hash_key" else f" has the value {problem['input']!r}, but"
    return f"CoreVital: option {option!r} (from {source}){shown} {message[:1].lower()}{message[1:]}"


def data_folder() -> str:
    """Return CoreVital's folder for data, by the XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "corevital")


def cache_folder() -> str:
    """Return CoreVital's folder for what can be made again, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "corevital")
