"""Installs the programs that no package manager has: Kafka's JARs from Maven Central, and versitygw, built by Go."""

from __future__ import annotations

from tests.servers import kafka, s3

kafka.fetch()
s3.build()
