"""The page's sections on rules: what is chosen on the other models, where faults show, what each signal shows alone."""

from collections import Counter
from math import inf
from statistics import median

from opentelemetry_instrumentation_corevital.baselines.profile_limits import STRANGE
from opentelemetry_instrumentation_corevital.baselines.run_numbers import MANY_RUNS

from .choosing import Tried, all_rules, choose
from .figures import Figure, Section
from .strange import DRAWS, TIMES, Strange, chosen
from .zoo_model import Count
from .zoo_rows import SOURCES, Models, total


def sections(models: Models) -> list[Section]:
    """Return the sections."""
    return [_chosen(models), *_strange(models), *_diagnosis(models), *_alone(models)]


def _chosen(models: Models) -> Section:
    """Compare, for each model, the rule that was chosen on the others with the one that ships."""
    rules, rows = all_rules(), []
    sizes = [source for source in ("50", "200") if all(source in model.tried for model in models)]
    both = {
        model.name: [sum(each, Tried()) for each in zip(*(model.tried[size] for size in sizes), strict=True)]
        for model in models
        if sizes
    }
    if len(both) > 1:
        chosen = {name: choose([both[other] for other in both if other != name], rules) for name in both}
        best = choose(both.values(), rules)
        for size in sizes:
            for what, number in (
                ("chosen on the others", chosen),
                ("as shipped", dict.fromkeys(both, 0)),
                ("chosen on all, in sample", dict.fromkeys(both, best)),
            ):
                found = sum((model.tried[size][number[model.name]] for model in models), Tried())
                rows.append(Figure(f"{SOURCES[size]}, {what}", _tried(found)))
            for model in models:
                theirs, now = model.tried[size][chosen[model.name]], model.tried[size][0]
                rows.append(
                    Figure(f"... {SOURCES[size]}: {model.name}", f"{_tried(theirs)}; as shipped: {_tried(now)}")
                )
        rows += [Figure(f"chosen for {name}", rules[number].text()) for name, number in chosen.items()]
        rows += [Figure("chosen on all", rules[best].text()), Figure("as shipped", rules[0].text())]
    note = (
        f"{len(rules) - 1} rules (`judged/choosing.py`: signals that count, unit, balance, growth with length, share "
        "of the limit at which a layer counts) and the one that ships. For each model the one is taken that places "
        "most faults of the other models rightly; of those within one standard error the one most like what ships. All "
        "have a limit by the same promise. Which runs teach is by what ships."
    )
    return Section("Chosen on the other models", rows, [note])


def _tried(found: Tried) -> str:
    return f"{_share(found.right, found.faults)} right, {_share(found.alarms, found.healthy)} of healthy beyond"


def _share(hits: float, total_: float) -> str:
    return f"{hits / total_:.3f}" if total_ else "none"


def _strange(models: Models) -> list[Section]:
    some = [model for model in models if model.strange]
    if len(some) < 2:
        return []
    rows = [
        Figure(_times(place), _counts(sum((model.strange[place] for model in some), Strange())))
        for place in range(len(TIMES))
    ]
    picked = {model.name: chosen([other.strange for other in some if other is not model]) for model in some}
    found = sum((model.strange[picked[model.name]] for model in some), Strange())
    rows.append(Figure("chosen on the others", _counts(found)))
    for model in some:
        mine, now = model.strange[picked[model.name]], model.strange[TIMES.index(STRANGE)]
        value = f"{_counts(mine)}; as shipped: {_counts(now)}"
        rows.append(Figure(f"... {model.name}: {_times(picked[model.name])}", value))
    note = (
        "A calibration sees all of its runs at once. One that is so many times as far out as the others is strange, "
        f"and does not count in the limit; {STRANGE:g} times ships. Chosen: the smallest with which at most 1 % of the "
        f"other models' healthy runs are beyond the limits of {DRAWS} calibrations of {MANY_RUNS} of the runs. What is "
        "gained shows on models that have a strange run: most have none."
    )
    return [Section("Strange runs of a calibration", rows, [note])]


def _times(place: int) -> str:
    return f"more than {TIMES[place]:g} times" if TIMES[place] < inf else "no run is strange"


def _counts(found: Strange) -> str:
    return (
        f"{_share(found.right, found.faults)} right, {_share(found.beyond, found.healthy)} of healthy beyond, of "
        f"{MANY_RUNS} runs {_share(found.beyond_fewer, found.healthy)}"
    )


def _diagnosis(models: Models) -> list[Section]:
    rows = []
    kinds = sorted({place.fault for model in models for place in model.places})
    for kind in kinds:
        for model in models:
            some = [place for place in model.places if place.fault == kind]
            measured = [place for place in some if place.strongest]
            if not measured:
                continue
            outcomes = Counter(place.outcome for place in some)
            signals = Counter(place.strongest for place in measured)
            others = Counter(place.other for place in measured if place.other)
            value = (
                ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
                + f"; strongest {_two(signals)}, {median(place.strength for place in measured):.2f} of the limit"
                + f"; of what counts {median(place.counted for place in measured):.2f}"
                + (f"; instead {_two(others)}" if others else "")
            )
            rows.append(Figure(f"{kind}: {model.name}", value))
    note = (
        "By the shipped rule and a baseline of the most runs. Strongest: view and signal with the largest excess at "
        "the layer with the fault, of all that are kept, and its median over runs in units of the limit. Instead: what "
        "is out in the layer that is blamed wrongly, and how many layers from the fault that is."
    )
    return [Section("Where the excess of faults is", rows, [note])] if rows else []


def _alone(models: Models) -> list[Section]:
    keys = sorted({key for model in models for key in model.alone})
    kinds, rows = sorted({kind for _, kind in keys}), []
    for pair in sorted({pair for pair, _ in keys}):
        counts = {kind: total(model.alone.get((pair, kind), Count()) for model in models) for kind in kinds}
        value = ", ".join(f"{kind} {count.rate:.2f}" for kind, count in counts.items() if count.total)
        rows.append(Figure(pair, f"{total(counts.values()).rate:.2f}: {value}"))
    note = (
        "First layer right where one signal counts alone, with a limit of its own: of all, and of each kind of fault."
    )
    return [Section("Each signal alone", rows, [note])] if rows else []


def _two(counter: Counter[str]) -> str:
    return ", ".join(f"{what} ({count})" for what, count in counter.most_common(2))
