// What became of forecasts: reliability diagram, and risk-coverage curve.

import { addChartKind, axisOption, legendOption } from "./charts.js";
import { colour, seriesColours } from "./colours.js";
import { shown } from "./page.js";

const TICKS = { min: 0, max: 1, interval: 0.25 };

/* {series: [{name, points: [[forecast, wrong, low, high, runs]]}]} */
function reliabilityOption(data) {
  const colours = seriesColours();
  return {
    ...withRoom(data.series.map((each) => each.name)),
    xAxis: axisOption({ type: "value", ...TICKS, name: "answer risk", nameLocation: "middle", nameGap: 26 }),
    yAxis: axisOption({ type: "value", ...TICKS, name: "wrong", nameGap: 8 }),
    tooltip: { trigger: "item", renderMode: "richText", formatter: ({ seriesName, value }) => binText(seriesName, value) },
    series: [
      { name: "perfect", type: "line", data: [[0, 0], [1, 1]], silent: true, symbol: "none", tooltip: { show: false }, lineStyle: { type: "dashed", width: 1.2, color: colour("--strong-line") } },
      ...data.series.flatMap((each, at) => [
        { name: each.name, type: "line", data: each.points, symbol: "circle", symbolSize: 7, lineStyle: { width: 1.6 }, color: colours[at % colours.length] },
        { name: each.name, type: "custom", data: each.points, silent: true, tooltip: { show: false }, renderItem: (params, api) => whisker(api, colours[at % colours.length]) },
      ]),
    ],
  };
}

function binText(name, [forecast, wrong, low, high, runs]) {
  return `${name}\nforecast ${shown(forecast)}, wrong ${shown(wrong)}\n95 %: ${shown(low)} to ${shown(high)}\n${shown(runs)} runs`;
}

function whisker(api, stroke) {
  const [x, top] = api.coord([api.value(0), api.value(3)]);
  const bottom = api.coord([api.value(0), api.value(2)])[1];
  return { type: "line", shape: { x1: x, x2: x, y1: top, y2: bottom }, style: { stroke, lineWidth: 1.2, opacity: 0.55 } };
}

/* {base: number|null, series: [{name, points: [[coverage, risk]]}]} */
function coverageOption(data) {
  const colours = seriesColours();
  const highest = Math.max(data.base ?? 0, ...data.series.flatMap((each) => each.points.map(([, risk]) => risk)));
  const base = data.base === null ? [] : [{
    name: "random order", type: "line", data: [[0, data.base], [1, data.base]], silent: true, symbol: "none", color: colour("--strong-line"), lineStyle: { type: "dashed", width: 1.2 },
  }];
  return {
    ...withRoom([...data.series.map((each) => each.name), ...base.map((each) => each.name)]),
    xAxis: axisOption({ type: "value", ...TICKS, name: "accepted (coverage)", nameLocation: "middle", nameGap: 26 }),
    yAxis: axisOption({ type: "value", min: 0, max: Math.min(1, Math.ceil(highest * 10) / 10 || 0.1), name: "wrong (risk)", nameGap: 8, nameTextStyle: { align: "left", color: colour("--dim"), fontSize: 11 } }),
    series: [
      ...data.series.map((each, at) => ({ name: each.name, type: "line", data: each.points, showSymbol: false, step: "start", lineStyle: { width: 1.8 }, color: colours[at % colours.length] })),
      ...base,
    ],
  };
}

/** Return a legend, and a grid with room for it and for the name of the axis below. */
function withRoom(names) {
  const legend = legendOption(names);
  return { ...legend, grid: { left: 8, right: 20, top: names.length < 2 ? 26 : 52, bottom: 28, containLabel: true } };
}

/** Let charts of the kinds `reliability` and `coverage` be drawn. */
export function addOutcomeCharts() {
  addChartKind("reliability", reliabilityOption);
  addChartKind("coverage", coverageOption);
}
