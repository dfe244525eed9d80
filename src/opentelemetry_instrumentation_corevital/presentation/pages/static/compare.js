// The pages on which models or runs are compared.

import { mountCharts } from "./charts.js";
import { addDistributionChart } from "./distribution_chart.js";
import { addOverlayChart, shareCursor } from "./overlay_chart.js";

addDistributionChart();
addOverlayChart();
mountCharts();
shareCursor(document.querySelectorAll('[data-chart="overlay"]'));
