// The page of an evaluation.

import { mountCharts } from "./charts.js";
import { addOutcomeCharts } from "./outcome_charts.js";

addOutcomeCharts();
mountCharts();
