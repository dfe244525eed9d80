"""Another process whose run goes on: stores so many steps as each line that it reads says, and at the end its span.

`python steps_on_demand.py FILE [no-content]`
"""

import sys

from tests.support.step_logs import StepLogs, Telemetry

telemetry = Telemetry(sys.argv[1])
call = StepLogs(telemetry, content=sys.argv[2:] != ["no-content"])
print(call.trace_id, flush=True)
for line in sys.stdin:
    count, *warnings = line.split()
    call.step(int(count), **({"warnings": warnings} if warnings else {}))
    print("stored", flush=True)
call.end()
telemetry.close()
