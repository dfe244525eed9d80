// The overview page.

import { mountCharts } from "./charts.js";
import { addTimeChart } from "./time_chart.js";

addTimeChart();
mountCharts();
