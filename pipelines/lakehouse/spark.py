"""The lakehouse of Apache Spark: Spark computes and writes Parquet, delta-spark commits the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.lakehouse.base import Lakehouse
from pipelines.lakehouse.staging import Append, Merge, Overwrite, Replace, Staged, Write
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class SparkLakehouse(Lakehouse):
    """Spark computes and writes Parquet; delta-spark reads the staged files and commits their rows."""

    def commit(self, table: TableId, staged: Staged, write: Write, *, metadata: Mapping[str, str]) -> TableVersion:
        if not isinstance(write, Overwrite) and self.batch(table, write.app) >= write.batch:
            return self.current(table)
        df = self._frame(staged, *[str(file.path) for file in staged.files])
        if isinstance(write, Merge):
            return self._merge(table, df, write, metadata)
        writer = df.write.format("delta").option("userMetadata", json.dumps(dict(metadata)))
        if staged.partition_by:
            writer = writer.partitionBy(*staged.partition_by)
        if write.app:
            writer = writer.option("txnAppId", write.app).option("txnVersion", write.batch)
        if isinstance(write, Append):
            writer = writer.mode("append").option("mergeSchema", True)
        elif isinstance(write, Overwrite) and (write.partitions is None or self.version(table) is None):
            writer = writer.mode("overwrite").option("overwriteSchema", True)
        else:
            column, values = (
                (write.column, write.values)
                if isinstance(write, Replace)
                else (staged.partition_by[0], write.partitions or ())
            )
            where = f"{column} IN ({', '.join(map(_literal, values))})"
            writer = writer.mode("overwrite").option("replaceWhere", where).option("mergeSchema", True)
        writer.save(str(self.path(table)))
        return self.current(table)

    def _merge(self, table: TableId, df: DataFrame, write: Merge, metadata: Mapping[str, str]) -> TableVersion:
        if self.version(table) is None:
            import pyarrow as pa
            from pyspark.sql.pandas.types import to_arrow_schema

            self.create(table, pa.schema(to_arrow_schema(df.schema, timezone="UTC")))
        prefix = "spark.databricks.delta."
        conf = {
            f"{prefix}write.txnAppId": write.app,
            f"{prefix}write.txnVersion": str(write.batch),
            f"{prefix}commitInfo.userMetadata": json.dumps(dict(metadata)),
        }
        view = f"_merged_{table.source_name}"
        df.createOrReplaceTempView(view)
        try:
            for name, value in conf.items():
                self.session.conf.set(name, value)
            self.session.sql(
                f"MERGE INTO delta.`{self.path(table)}` AS old USING {view} AS new ON {write.same_key} "
                f"WHEN MATCHED AND ({write.newcomer_wins}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
            ).collect()
        finally:
            for name in conf:
                self.session.conf.unset(name)
            self.session.catalog.dropTempView(view)
        return self.current(table)


def _literal(text: str) -> str:
    """The text as a literal of Spark SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
