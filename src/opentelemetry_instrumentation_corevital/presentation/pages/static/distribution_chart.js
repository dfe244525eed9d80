// How a number is distributed over the runs of each model: a box from 10 to 90 %, a line at the median, a dot for each run.

import { addChartKind, axisOption } from "./charts.js";
import { colour, seriesColours } from "./colours.js";
import { shown } from "./page.js";

const BOX_HEIGHT = 0.42;
const MOST_JITTER = 22;
const GOLDEN = 0.618034;

/* {labels, unit, highest, boxes: [[smallest, q10, median, q90, largest]|null], points: [[number]]} */
function distributionOption(data) {
  const colours = seriesColours();
  const of = (row) => colours[row % colours.length];
  return {
    xAxis: axisOption({ type: "value", min: 0, max: data.highest ?? undefined, name: data.unit, nameLocation: "middle", nameGap: 26 }),
    yAxis: axisOption({ type: "category", data: data.labels, inverse: true, splitLine: { show: false }, axisLabel: { color: colour("--ink"), fontSize: 11, width: 130, overflow: "truncate" } }),
    grid: { left: 8, right: 16, top: 8, bottom: data.unit ? 30 : 8, containLabel: true },
    tooltip: { trigger: "item", renderMode: "richText", formatter: ({ seriesIndex, dataIndex, value }) => (seriesIndex === 1 ? boxText(data, value[0]) : `${data.labels[dataIndex]}: ${shown(value[0])}`) },
    series: [
      {
        type: "scatter", symbolSize: 4, silent: true,
        data: data.points.flatMap((values, row) => values.map((value, at) => ({ value: [value, row], symbolOffset: [0, jitter(at)], itemStyle: { color: of(row), opacity: 0.45 } }))),
      },
      {
        type: "custom", encode: { x: [1, 2, 3, 4, 5], y: 0 },
        data: data.boxes.flatMap((box, row) => (box === null ? [] : [[row, ...box]])),
        renderItem: (params, api) => boxShape(api, of(api.value(0))),
      },
    ],
  };
}

/** Return how far a dot stands beside the middle of its row: always the same, so that a redrawn chart is the same. */
function jitter(at) {
  return Math.round((((at * GOLDEN) % 1) - 0.5) * MOST_JITTER);
}

function boxShape(api, stroke) {
  const [row, smallest, low, middle, high, largest] = [0, 1, 2, 3, 4, 5].map((dimension) => api.value(dimension));
  const height = Math.min(26, api.size([0, 1])[1] * BOX_HEIGHT);
  const x = (value) => api.coord([value, row])[0];
  const y = api.coord([0, row])[1];
  const line = (x1, x2, y1, y2, width) => ({ type: "line", shape: { x1, x2, y1, y2 }, style: { stroke, lineWidth: width } });
  return {
    type: "group",
    children: [
      line(x(smallest), x(low), y, y, 1), line(x(high), x(largest), y, y, 1),
      { type: "rect", shape: { x: x(low), y: y - height / 2, width: Math.max(1, x(high) - x(low)), height, r: 3 }, style: { fill: stroke, opacity: 0.18 } },
      { type: "rect", shape: { x: x(low), y: y - height / 2, width: Math.max(1, x(high) - x(low)), height, r: 3 }, style: { fill: "none", stroke, lineWidth: 1.4 } },
      line(x(middle), x(middle), y - height / 2, y + height / 2, 3),
    ],
  };
}

function boxText(data, row) {
  const [smallest, low, middle, high, largest] = data.boxes[row].map((value) => shown(value));
  return `${data.labels[row]}\nmedian ${middle}\n10 to 90 %: ${low} to ${high}\nall: ${smallest} to ${largest}`;
}

/** Let charts of the kind `distribution` be drawn. */
export function addDistributionChart() {
  addChartKind("distribution", distributionOption);
}
