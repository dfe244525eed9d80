// A signal of several runs above each other, aligned by step, and one cursor through all such charts of a page.

import { addChartKind, axisOption, chartOf } from "./charts.js";
import { colour } from "./colours.js";

const LINES = ["solid", [6, 3], [2, 2], [8, 3, 2, 3]];

/* {last, marks: [{at, name}], series: [{name, points: [[step, number|null]]}]} */
function overlayOption(data) {
  const label = { color: colour("--mark"), fontSize: 11, formatter: "{b}", position: "end", distance: 2 };
  return {
    grid: { left: 8, right: 12, top: data.marks.length > 0 ? 20 : 10, bottom: 4, containLabel: true },
    xAxis: axisOption({ type: "value", min: 0, max: Math.max(1, data.last), minInterval: 1, splitLine: { show: false } }),
    yAxis: axisOption({ type: "value", splitNumber: 3 }),
    series: data.series.map((each, index) => ({
      name: each.name, type: "line", data: each.points, connectNulls: false, sampling: "minmax",
      showSymbol: each.points.length < 2, symbolSize: 5, lineStyle: { width: 1.6, type: LINES[index % LINES.length] },
      markLine: index > 0 ? undefined : {
        silent: true, symbol: "none", lineStyle: { color: colour("--mark"), type: "solid", width: 1 }, label,
        data: data.marks.map((mark) => ({ xAxis: mark.at, name: mark.name })),
      },
    })),
  };
}

/** Let charts of the kind `overlay` be drawn. */
export function addOverlayChart() {
  addChartKind("overlay", overlayOption);
}

/** Let the cursor in one overlay stand at the same step in all others. */
export function shareCursor(places) {
  const charts = [...places].map((place) => chartOf(place)).filter((chart) => chart !== undefined);
  for (const chart of charts) {
    chart.getZr().on("mousemove", (event) => tellOthers(charts, chart, { type: "showTip", x: event.offsetX, y: event.offsetY }));
    chart.getZr().on("globalout", () => tellOthers(charts, chart, { type: "hideTip" }));
  }
}

function tellOthers(charts, from, action) {
  for (const chart of charts) if (chart !== from) chart.dispatchAction(action);
}
