// Lines over time, one per model: charts of one page have the same axis and leave their legend to its table.

import { addChartKind, axisOption } from "./charts.js";
import { colour } from "./colours.js";

/* {x: [ms], unit, highest: number|null, series: [{name, values: [number|null]}]} */
function timesOption(data) {
  return {
    xAxis: axisOption({ type: "time", min: data.x[0], max: data.x[data.x.length - 1], splitLine: { show: false } }),
    yAxis: axisOption({ type: "value", min: 0, splitNumber: 4, ...(data.highest ? { max: data.highest, interval: data.highest / 4 } : {}) }),
    series: data.series.map((each) => ({
      name: each.name, type: "line", lineStyle: { width: 1.6 }, connectNulls: false, symbol: "circle", symbolSize: 4,
      showSymbol: true, showAllSymbol: true, emphasis: { focus: "series" },
      itemStyle: each.colour ? { color: colour(each.colour) } : {},
      data: each.values.map((value, at) => ({ value: [data.x[at], value], symbolSize: isAlone(each.values, at) ? 6 : 0 })),
    })),
  };
}

/** Return whether a value has no neighbour, so that no line shows it. */
function isAlone(values, at) {
  return values[at] !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
}

/** Let charts of the kind `times` be drawn. */
export function addTimeChart() {
  addChartKind("times", timesOption);
}
