// The parts of Apache ECharts that the pages use. `build.sh` bundles them into one file.
import { use } from "echarts/core";
import { BarChart, CustomChart, LineChart, ScatterChart } from "echarts/charts";
import {
  AriaComponent,
  AxisPointerComponent,
  DataZoomInsideComponent,
  GridComponent,
  LegendPlainComponent,
  MarkAreaComponent,
  MarkLineComponent,
  TooltipComponent,
} from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";

export { init } from "echarts/core";

use([
  ...[BarChart, CustomChart, LineChart, ScatterChart, CanvasRenderer],
  ...[AriaComponent, AxisPointerComponent, DataZoomInsideComponent, GridComponent],
  ...[LegendPlainComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent],
]);
