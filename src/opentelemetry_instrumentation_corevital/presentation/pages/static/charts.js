// Draws each `<div class="chart" data-chart="KIND" data-source="ID">` from the data block ID, with Apache ECharts.

import { colour, motionIsReduced, onThemeChange, seriesColours } from "./colours.js";
import { readData, shown } from "./page.js";

/** Kind -> function from a data block to ECharts options. A module adds a kind by `addChartKind`. */
const chartKinds = new Map([["lines", linesOption], ["bars", barsOption]]);
const drawnCharts = new Map();

/** Add a kind of chart: `option(data, width)` returns what is laid over `baseOption()`; the width is that of its place, in pixels. */
export function addChartKind(name, option) {
  chartKinds.set(name, option);
}

/** Draw every chart of the page that is not drawn yet, and draw all anew when the theme or a size changes. */
export function mountCharts(root = document) {
  for (const place of root.querySelectorAll("[data-chart]")) if (!drawnCharts.has(place)) drawChart(place);
}

/** Return the ECharts instance of an element, or undefined. */
export function chartOf(place) {
  return drawnCharts.get(place);
}

/** Draw a chart from its data block, or from data that have come since. */
export function drawChart(place, data = readData(place.dataset.source)) {
  const option = chartKinds.get(place.dataset.chart);
  if (option === undefined || data === null) return undefined;
  let chart = drawnCharts.get(place);
  if (chart === undefined) {
    chart = echarts.init(place, null, { renderer: "canvas" });
    drawnCharts.set(place, chart);
    sizes.observe(place);
  }
  place.chartData = data;
  chart.setOption({ ...baseOption(), ...option(data, place.clientWidth) }, true);
  return chart;
}

/** Return what all charts have: type, colours, margins, a tooltip that is text. */
export function baseOption() {
  return {
    animation: !motionIsReduced(),
    animationDuration: 250,
    color: seriesColours(),
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("--dim") },
    grid: { left: 8, right: 12, top: 12, bottom: 4, containLabel: true },
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, transitionDuration: 0, backgroundColor: colour("--card"),
      borderColor: colour("--line"), textStyle: { color: colour("--ink"), fontSize: 12 }, valueFormatter: (value) => shown(value),
    },
  };
}

/** Return an axis in the colours of the page; `more` is laid over it. */
export function axisOption(more = {}) {
  return {
    axisLine: { lineStyle: { color: colour("--line") } },
    axisTick: { show: false },
    axisLabel: { color: colour("--dim"), fontSize: 11, hideOverlap: true },
    splitLine: { lineStyle: { color: colour("--line"), type: "dashed" } },
    nameTextStyle: { color: colour("--dim"), fontSize: 11 },
    ...more,
  };
}

/** Return a legend at the top, and the room that it takes. */
export function legendOption(names) {
  if (names.length < 2) return {};
  return {
    legend: { type: "plain", top: 0, left: 0, itemWidth: 14, itemHeight: 8, textStyle: { color: colour("--ink"), fontSize: 12 }, data: names },
    grid: { left: 8, right: 12, top: 34, bottom: 4, containLabel: true },
  };
}

/* {x: [...], time: bool, unit, series: [{name, values: [number|null]}], bands: [{from, to, name}], marks: [{at, name}]} */
function linesOption(data) {
  const x = data.x;
  return {
    ...legendOption(data.series.map((each) => each.name)),
    xAxis: axisOption({ type: data.time ? "time" : "value", min: "dataMin", max: "dataMax", splitLine: { show: false }, name: data.axis ?? "" , nameLocation: "middle", nameGap: 26 }),
    yAxis: axisOption({ type: "value", scale: true, name: data.unit ?? "", nameGap: 8, nameTextStyle: { align: "left", color: colour("--dim"), fontSize: 11 } }),
    series: data.series.map((each, index) => ({
      name: each.name, type: "line", showSymbol: x.length < 2, symbolSize: 5, sampling: "minmax", lineStyle: { width: 1.6 }, connectNulls: false,
      data: each.values.map((value, at) => [x[at], value]),
      ...(index === 0 ? overlays(data) : {}),
    })),
  };
}

/* {labels: [...], unit, stacked: bool, horizontal: bool, series: [{name, values, colour?: "--high"}]} */
function barsOption(data) {
  const names = axisOption({ type: "category", data: data.labels, splitLine: { show: false }, inverse: Boolean(data.horizontal) });
  const values = axisOption({ type: "value", name: data.unit ?? "" });
  return {
    ...legendOption(data.legend === false ? [] : data.series.map((each) => each.name)),
    xAxis: data.horizontal ? values : names,
    yAxis: data.horizontal ? names : values,
    series: data.series.map((each) => ({
      name: each.name, type: "bar", stack: data.stacked ? "all" : undefined, barMaxWidth: 34, data: each.values,
      itemStyle: each.colour ? { color: colour(each.colour) } : {},
    })),
  };
}

function overlays(data) {
  const bands = (data.bands ?? []).map((each) => [{ xAxis: each.from, name: each.name }, { xAxis: each.to }]);
  const marks = (data.marks ?? []).map((each) => ({ xAxis: each.at, name: each.name }));
  const label = { color: colour("--mark"), fontSize: 11, formatter: "{b}" };
  return {
    markArea: { silent: true, itemStyle: { color: colour("--band") }, label, data: bands },
    markLine: { silent: true, symbol: "none", lineStyle: { color: colour("--mark"), type: "solid", width: 1 }, label, data: marks },
  };
}

const sizes = new ResizeObserver((entries) => {
  for (const entry of entries) drawnCharts.get(entry.target)?.resize({ animation: { duration: 0 } });
});

onThemeChange(() => {
  for (const place of drawnCharts.keys()) drawChart(place, place.chartData);
});
