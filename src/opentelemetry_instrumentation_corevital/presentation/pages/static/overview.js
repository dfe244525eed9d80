// The overview page.

import { mountCharts } from "./charts.js";
import { addOutcomeCharts } from "./outcome_charts.js";
import { addTimeChart } from "./time_chart.js";

addOutcomeCharts();
addTimeChart();
mountCharts();
