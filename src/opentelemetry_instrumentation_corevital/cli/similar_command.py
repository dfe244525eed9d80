"""`corevital similar`: the runs that behaved most like one."""

from .._internal.printable import one_line
from ..presentation.run_table import runs_table
from ..store import RunFilter, open_store
from ..store.flat_rows import run_rows
from ..store.similar_runs import SIMILAR_RUNS
from ..store.stored_run import COLUMNS
from .options import (
    AsCsv,
    AsJson,
    Database,
    Flag,
    Label,
    Level,
    Limit,
    Model,
    OfExperiment,
    OfService,
    RunId,
    Since,
    Until,
    database,
    other_store,
    read_from,
    since_ns,
    with_stored_model,
)
from .output import one_format, print_json, write_csv
from .printing import console, error_console, named_damage, tell_damage


def similar(
    run_id: RunId,
    db: Database = None,
    limit: Limit = SIMILAR_RUNS,
    model: Model = None,
    since: Since = None,
    until: Until = None,
    service: OfService = None,
    experiment: OfExperiment = None,
    level: Level = None,
    flag: Flag = None,
    label: Label = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the runs that behaved most like a run, the nearest first, by the distance of their fingerprints.

    A distance of 0 is alike, 1 as different as can be. Only fingerprints of the same version are compared.

    Example: corevital similar last --label incorrect
    """
    one_format(as_json=as_json, as_csv=as_csv)
    wanted = RunFilter(
        model=model,
        since_ns=since_ns(since),
        until_ns=since_ns(until, "--until"),
        service=service,
        experiment=experiment,
        level=level,
        flag=flag,
        label=label,
    )
    with open_store(database(db)) as store:
        run = store.run(run_id)
        found = store.similar(run, limit, with_stored_model(store, wanted))
    runs, distances = [each.run for each in found], [each.distance for each in found]
    if as_json:
        print_json([{"distance": each.distance, **each.run.as_dict()} for each in found])
    elif as_csv:
        rows = zip(distances, run_rows(runs), strict=True)
        write_csv(({"distance": distance, **row} for distance, row in rows), ("distance", *COLUMNS))
    elif not found:
        console().print(f"No other run has a fingerprint to compare with that of {one_line(run.summary.trace_id)}.")
    else:
        out = console()
        table, left_out = runs_table(runs, out.width, distances)
        out.print(table)
        if left_out:
            out.print(f"A wider terminal also has room for {', '.join(left_out)}.", style="dim")
    tell_damage(named_damage(runs))
    if not (as_json or as_csv) or other_store(db) is not None:
        error_console().print(read_from(db), soft_wrap=True)
