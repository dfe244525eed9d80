"""What is declared of a signal: the types that `signals` fills in."""

from dataclasses import dataclass
from typing import Final, Literal

Shape = Literal["step", "layer", "head"]
"""One number per step; per step and layer; per step, layer and head."""

Dtype = Literal["float16", "float32", "int32"]

Statistic = Literal["mean", "min", "max", "sum", "slope"]
"""How the numbers of many steps become one. `slope` is that of a least-squares line over the steps."""

SLACK: Final = 2e-3
"""How far rounding to half precision takes a value, of the order of 1, beyond the ends of its range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Signals that are measured together, of the same layers: one block of a signal row.

    A block has the numbers of each of its layers, one layer after the other, and then those of the step. The blocks
    stand in the row in the order of `signals.FAMILIES`; a run has those that its model and its options give it.
    """

    name: str
    title: str
    """Of its part of docs/metrics.md."""
    intro: str = ""
    """What docs/metrics.md says of all of them."""
    group: str = ""
    """Under which `corevital.capture.absent` says why they are not there; empty: each under its own name."""
    in_row: bool = True
    """Whether its numbers are in the row. Those that are not are made of other columns after the run."""
    every_step: bool = True
    """False: only on the steps on which attention is sampled, whose rows are longer than the others."""
    some_models: bool = False
    """Only some models have it. Of the others nothing is said: what a model does not have is not missing."""
    index: str = ""
    """Last word of the attribute that names the layers of its layer arrays where a layer has no value."""
    index_meaning: str = ""
    """Of that attribute; empty: made of the names of the arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A number of a whole run on its span: the attribute `corevital.SIGNAL.STATISTIC`."""

    statistic: Statistic
    meaning: str
    unit: str = ""
    """Where it is not the signal's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerArray:
    """One number per layer on the span: the attribute `corevital.layers.WORD`."""

    meaning: str
    statistic: Statistic = "mean"
    """Over the steps."""
    integers: bool = False
    optional: bool = False
    """Left out where no layer has a value. Of a family's other arrays a layer is left out where one has no value."""
    heading: str = ""
    """Of its column in the terminal's table of layers; empty: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepField:
    """A field of a step's event: the attribute `corevital.step.WORD`. Of a layer signal it is the mean over layers."""

    meaning: str
    detail: bool = False
    """Whether it is there only in runs that are reported in full."""
    telling: Literal["", "min", "max"] = ""
    """Whether the step with its smallest or its largest value is told in any case."""
    heading: str = ""
    """Of its column in the terminal's table of steps; empty: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A map of layers x steps in the terminal and on a run's page."""

    rank: int
    """Its place in the list of maps, from the lowest."""
    title: str
    relative: bool = False
    """Whether it shows each layer's value over the layer's own median, on a logarithmic scale."""
    default: bool = False
    """Whether it is shown where no signal is named."""
    migrated: tuple[str, str] | None = None
    """The column that a run migrated from the first CoreVital has instead, and the title of its map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A line over the steps of a run's page."""

    rank: int
    """Its place in the list of lines, from the lowest."""
    title: str
    colours: Literal["", "high", "low"] = ""
    """Whether the page's tokens can be coloured by it, and which of its ends is strong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelLine:
    """A line of the verdict's panel in the terminal: bars, and numbers of the whole run."""

    title: str
    bars: bool = False
    """Whether it begins with its series or its layer array as bars."""
    figures: tuple[tuple[Statistic, str], ...] = ()
    """Summaries and how they are formatted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEntry:
    """One entry of docs/metrics.md, about one signal or about several that belong together.

    The texts may have the places of docs/templated.py, as `{{figure SECTION | ROW}}`.
    """

    definition: str
    evidence: str
    """The verdicts that rest on it."""
    measured: str
    """What is known of its worth."""
    stands_out: str
    """What it means where it is unusual."""
    default: str
    """When it is measured if no option says otherwise."""
    also: tuple[str, ...] = ()
    """Names of telemetry that are made of it and are no signal: words between their dots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal: what it is, where it is in the row and in the run data, and what carries it."""

    name: str
    """Of its column in `Run.columns` and in the run data."""
    family: str
    shape: Shape
    definition: str
    """In a few words, for the table of columns."""
    entry: SignalEntry | None = None
    """In docs/metrics.md; None: of what is made of other signals."""
    unit: str = "1"
    """As UCUM writes it; empty for counts."""
    source: str = ""
    """The paper that it is from."""
    lowest: float | None = None
    highest: float | None = None
    """The ends of its range, both of it; None: there is none. NaN is what was not measured, an infinity is a value."""
    migrated_highest: float | None = None
    """The upper end in runs of the first CoreVital, whose definition was another one; None: the same."""
    number: str = ""
    """The definition's name for it, where several families share a definition; empty: its own name."""
    of_neighbours: bool = False
    """Whether it compares a layer with the one before it: NaN where that one was not looked at."""
    from_step: int = 0
    """The first step that can have one."""

    dtype: Dtype = "float32"
    """Of its column in `Run.columns`. In the row, which is float32, a count is exact up to 2^24."""
    stored: Dtype = "float32"
    """Of its column in the run data: float16 where three digits do; NaN of a column stored as int32 is -1."""
    dropped: int | None = None
    """When its column is left out of run data that are too large: those with the lowest number first; None: never."""

    word: str = ""
    """What its attributes end with; empty: its name."""
    summaries: tuple[Summary, ...] = ()
    series: str = ""
    """Meaning of the attribute `corevital.series.WORD`, its course over the steps; empty: there is none."""
    layer_array: LayerArray | None = None
    step: StepField | None = None
    gauge: str = ""
    """Meaning of the gauge of the last run's mean; empty: there is none."""
    histogram: str = ""
    """Meaning of the histogram `corevital.step.WORD` of all steps; empty: there is none."""
    buckets: tuple[float, ...] = ()
    """Bounds of the histogram."""
    heat_map: HeatMap | None = None
    timeline: Timeline | None = None
    line: PanelLine | None = None
    profile: int | None = None
    """Its place in a baseline profile, from the lowest; None: profiles do not know it."""

    @property
    def short(self) -> str:
        """Return what its attributes end with."""
        return self.word or self.name

    @property
    def measured_as(self) -> str:
        """Return the definition's name for its number."""
        return self.number or self.name

    def allows(self, smallest: float, largest: float) -> bool:
        """Whether values between these are within its range, as far as rounding lets one say so."""
        return (self.lowest is None or smallest >= self.lowest - SLACK) and (
            self.highest is None or largest <= self.highest + SLACK
        )

    def read_range(self, statistic: Statistic = "mean") -> tuple[float | None, float | None]:
        """Return the ends of what is read of it, or of a number made of it over the steps, from anywhere."""
        highest = self.highest if self.migrated_highest is None else self.migrated_highest
        if statistic == "slope":
            return (None, None)
        if statistic == "sum":
            return (0.0 if self.lowest is not None and self.lowest >= 0 else None, None)
        return (self.lowest, highest)

    def summary_name(self, statistic: Statistic) -> str:
        """Return the span attribute of a number of the whole run."""
        return f"corevital.{self.short}.{statistic}"

    @property
    def series_name(self) -> str:
        """Return the span attribute of its course over the steps."""
        return f"corevital.series.{self.short}"

    @property
    def layers_name(self) -> str:
        """Return the span attribute of its layer array."""
        return f"corevital.layers.{self.short}"

    @property
    def step_name(self) -> str:
        """Return the attribute of a step's event, and the histogram of all steps."""
        return f"corevital.step.{self.short}"

    @property
    def gauge_name(self) -> str:
        """Return the gauge of its mean."""
        return f"corevital.layer.{self.short}" if self.shape == "layer" else f"corevital.{self.short}"
