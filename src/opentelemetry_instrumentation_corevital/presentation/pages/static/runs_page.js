// Starts the list of runs.

import { mountRunsList } from "./runs_list.js";

mountRunsList();
