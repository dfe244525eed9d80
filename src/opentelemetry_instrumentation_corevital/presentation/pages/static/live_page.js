// Starts what the pages of runs that go on need.

import { mountLiveList } from "./live.js";
import { mountLiveRun } from "./live_run.js";

mountLiveList();
mountLiveRun();
