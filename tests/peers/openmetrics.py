"""Reads OpenMetrics from its input with Prometheus' own parser and prints each family's name and type."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type)
