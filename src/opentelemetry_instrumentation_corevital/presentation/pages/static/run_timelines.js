// The timelines of a run below each other, with what is marked on them.

import { addChartKind, axisOption } from "./charts.js";
import { colour, seriesColours } from "./colours.js";
import { shown } from "./page.js";
import { PLOT_LEFT, PLOT_RIGHT, stepTicks } from "./run_plot.js";

const LINE_HEIGHT = 110; // with its title; run.css has the heights of 1 to 8 lines
const TITLE_HEIGHT = 26;
const MARK_COLOURS = { flag: "--mark", warning: "--medium", intervention: "--series-4" };

/** Make the kind of chart known to `mountCharts`. */
export function addTimelines() {
  addChartKind("run-timelines", timelinesOption);
}

/* {last, lines: [{signal, title, unit, steps: [int]|null, values: [number|null]}], bands, marks} */
function timelinesOption(data, width) {
  const lines = data.lines.slice(0, 8);
  const colours = seriesColours();
  const across = (index) => axisOption({
    type: "value", gridIndex: index, show: index === lines.length - 1, min: -0.5, max: data.last + 0.5, splitLine: { show: false },
    axisLabel: { color: colour("--dim"), fontSize: 11, hideOverlap: true, customValues: stepTicks(data.last) },
    name: "step", nameLocation: "middle", nameGap: 20,
  });
  const upwards = (line, index) => axisOption({
    type: "value", gridIndex: index, min: (range) => Math.min(0, range.min), splitNumber: 2,
    name: line.unit ? `${line.title} (${line.unit})` : line.title, nameGap: 9, nameTruncate: { maxWidth: Math.max(80, width - PLOT_LEFT), ellipsis: "\u2026" },
    nameTextStyle: { align: "left", color: colour("--ink"), fontSize: 12 },
    axisLine: { show: false },
    axisLabel: { color: colour("--dim"), fontSize: 11, formatter: (value) => shown(value), showMaxLabel: true },
  });
  return {
    tooltip: { show: false },
    animation: false,
    grid: lines.map((_, index) => ({ left: PLOT_LEFT, right: PLOT_RIGHT, top: TITLE_HEIGHT + index * LINE_HEIGHT, height: LINE_HEIGHT - 38, outerBoundsMode: "none" })),
    xAxis: lines.map((_, index) => across(index)),
    yAxis: lines.map(upwards),
    series: lines.map((line, index) => ({
      type: "line", name: line.title, xAxisIndex: index, yAxisIndex: index, silent: true, sampling: "minmax", connectNulls: false,
      showSymbol: line.values.length < 3, symbolSize: 6, lineStyle: { width: 1.4, color: colours[index % colours.length] }, itemStyle: { color: colours[index % colours.length] },
      data: line.values.map((value, at) => [line.steps === null ? at : line.steps[at], value]),
      markArea: { silent: true, label: { show: false }, data: data.bands.map(bandArea) },
      markLine: { silent: true, symbol: "none", label: { show: false }, data: data.marks.slice(0, 40).map(markOf) },
    })),
  };
}

function bandArea(band) {
  const name = band.kind === "intervention" ? "--series-4" : band.second ? "--series-3" : "--series-1";
  return [{ xAxis: band.from - 0.5, itemStyle: { color: colour(name), opacity: 0.16 } }, { xAxis: band.to - 0.5 }];
}

function markOf(mark) {
  return { xAxis: mark.step, lineStyle: { color: colour(MARK_COLOURS[mark.kind]), type: "dashed", width: 1.2 } };
}
