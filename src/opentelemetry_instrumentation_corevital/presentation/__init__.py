"""Shows a run: verdict panel, list, sparkline, token strip, heat map, timeline, HTML; knows neither store nor torch."""
