"""From a judged `Run` to what a span, a metric or a log carries. Pure where it can be; knows nothing of torch."""
