# The OpenTelemetry Collector with CoreVital's configurations in it.
#
#   docker build -f collector/docker/Collector.Dockerfile -t corevital-collector .
#   docker run --rm -p 127.0.0.1:4317:4317 -p 127.0.0.1:4318:4318 -v queue:/var/lib/corevital-queue \
#       -e COREVITAL_OTLP_ENDPOINT=http://store:4418 -e COREVITAL_COLLECT_TOKEN=SECRET corevital-collector
#
# Other places: give the options yourself, as in `... corevital-collector --config /etc/corevital/collector-config.yaml
# --config /etc/corevital/collector/jaeger.yaml`.

FROM otel/opentelemetry-collector-contrib:0.161.0

COPY collector-config.yaml /etc/corevital/collector-config.yaml
COPY collector /etc/corevital/collector

ENV COREVITAL_COLLECTOR_GRPC=0.0.0.0:4317 \
    COREVITAL_COLLECTOR_HTTP=0.0.0.0:4318 \
    COREVITAL_COLLECTOR_HEALTH=0.0.0.0:13133 \
    COREVITAL_COLLECTOR_METRICS_HOST=0.0.0.0 \
    COREVITAL_PROMETHEUS_ENDPOINT=0.0.0.0:8889 \
    COREVITAL_COLLECTOR_QUEUE=/var/lib/corevital-queue

# A new volume belongs to root, and the image has no shell to change that.
USER 0
VOLUME /var/lib/corevital-queue
EXPOSE 4317 4318 8888 8889 13133
CMD ["--config", "/etc/corevital/collector-config.yaml", "--config", "/etc/corevital/collector/prometheus.yaml"]
