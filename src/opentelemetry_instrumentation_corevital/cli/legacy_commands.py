"""What to say of commands and options that only the first CoreVital had: what does the same today."""

from collections.abc import Mapping
from typing import Any, Final

from .._internal.user_error import UserError

_QUANTIZED: Final = (
    "load the model in your program with a BitsAndBytesConfig and call CoreVitalInstrumentor().instrument() before it "
    "generates, or give --model a folder whose weights are quantized already"
)
_DATADOG: Final = "send the run by OTLP, with --otel-endpoint URL, to a Datadog Agent or a Collector that has the key"
_PROMETHEUS: Final = "send the run by OTLP, with --otel-endpoint URL, to a Collector with a Prometheus exporter"
_WANDB: Final = "write the run's report with --write-json and log that file with wandb"
_SETTINGS: Final = (
    "settings are options of the command and OTEL_COREVITAL_* variables, which docs/configuration.md lists"
)

_INSTEAD: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {
        "--quantize-4": _QUANTIZED,
        "--quantize-8": _QUANTIZED,
        "--perf": "leave it out: `corevital cost` measures what watching costs",
        "--config": _SETTINGS,
        "--calibration": "set OTEL_COREVITAL_BASELINE to a profile that `corevital calibrate` has written",
        "--log-level": "leave it out: what goes wrong is printed",
        "--no-prompt-telemetry": "leave it out: no extra pass over the prompt is made",
        "--report-on-gpu": "leave it out: numbers are always computed on the model's device",
        "--early-stopping": "generate in your program, with CoreVitalInstrumentor().instrument() before it",
        "--datadog-api-key": _DATADOG,
        "--datadog-site": _DATADOG,
        "--prometheus-port": _PROMETHEUS,
        "--wandb-project": _WANDB,
        "--wandb-entity": _WANDB,
        "--sink datadog": _DATADOG,
        "--sink prometheus": _PROMETHEUS,
        "--sink wandb": _WANDB,
    },
    "calibrate": {"--config": _SETTINGS},
}
_OTHER_NAMES: Final = {"capture-mode": "capture"}
_COMMANDS: Final = {"serve": "`corevital dashboard` serves the runs of a store"}


def todays_name(name: str) -> str:
    """Return the name of an option for what the first CoreVital, or its plan, calls it, as in --max_new_tokens."""
    dashed = name.replace("_", "-")
    return _OTHER_NAMES.get(dashed, dashed)


def refuse_option(command: str, error: Exception) -> None:
    """Raise what to do instead, if a usage error is about an option that the first CoreVital had.

    Raises:
        UserError: then.
    """
    name = getattr(error, "option_name", None)
    parameter: Any = getattr(error, "param", None)
    for option, instead in _INSTEAD.get(command, {}).items():
        named, _, value = option.partition(" ")
        refused = value and f"--{getattr(parameter, 'name', '')}" == named and f"{value!r} is not" in str(error)
        if refused or (not value and name == named):
            raise UserError(f"{option} is an option of the first CoreVital; {instead}.")


def refuse_command(name: str) -> None:
    """Raise what to do instead, if the first CoreVital had such a command.

    Raises:
        UserError: then.
    """
    if name in _COMMANDS:
        raise UserError(f"`corevital {name}` is a command of the first CoreVital; {_COMMANDS[name]}.")
