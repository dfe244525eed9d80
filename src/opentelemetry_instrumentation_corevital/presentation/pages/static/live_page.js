// Starts what the pages of runs that go on need.

import { mountHelp } from "./help.js";
import { mountLiveList } from "./live.js";
import { mountLiveRun } from "./live_run.js";

mountHelp();
mountLiveList();
mountLiveRun();
