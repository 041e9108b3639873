"""Reads a push of metrics with OpenTelemetry's own messages, and says as JSON what is in it."""

import json
import sys

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE


def attributes(pairs):
    return {pair.key: pair.value.string_value for pair in pairs}


def points(kind, data):
    for point in data.data_points:
        told = {"attributes": attributes(point.attributes)}
        assert kind == "gauge" or 0 < point.start_time_unix_nano <= point.time_unix_nano, point
        if kind == "histogram":
            assert sum(point.bucket_counts) == point.count, point
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, point
            told["value"] = point.count
        else:
            told["value"] = getattr(point, point.WhichOneof("value"))
        yield told


def main(path):
    request = ExportMetricsServiceRequest()
    with open(path, "rb") as file:
        request.ParseFromString(file.read())
    metrics = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                if kind != "gauge":
                    assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
                metrics.append({
                    "scope": scope.scope.name,
                    "name": metric.name,
                    "unit": metric.unit,
                    "description": metric.description,
                    "kind": kind,
                    "monotonic": kind == "sum" and data.is_monotonic,
                    "points": list(points(kind, data)),
                })
    resource = attributes(request.resource_metrics[0].resource.attributes)
    json.dump({"resource": resource, "metrics": metrics}, sys.stdout, allow_nan=True)


main(sys.argv[1])
