"""Columns that follow from other columns of the same row: one function, in the engine for tables, in Python on demand.

    def slack(columns, pc):
        return {"minutes": pc.subtract(columns["departure_minute"], columns["aircraft__ready_at_minute"])}

    SLACK = OnDemand(
        name="slack",
        inputs={"departure_minute": "double", "aircraft__ready_at_minute": "double"},
        outputs={"minutes": "double"},
        compute=slack,
    )

The function takes and returns Arrow arrays, one for each column, of as many rows as there are: a table's, or the one of
a request; `pc` is `pyarrow.compute`. So both are computed by the same instructions, with the same types and nulls. A
NaN is given to it as a null, and what it returns as NaN is null: online stores hold no NaN, and JSON has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Arrow's names of the types of features; and of what a function may take beside them.
OUTPUTS = {
    "string": "string", "int": "int32", "bigint": "int64", "float": "float32", "double": "float64", "boolean": "bool",
}  # fmt: skip
INPUTS = {**OUTPUTS, "date": "date32", "timestamp": "timestamp[us, tz=UTC]"}
#: From the arrays of columns, and `pyarrow.compute`, the arrays of others.
Compute = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnDemand:
    """Columns computed from columns.

    Attributes:
        name: In a feature service, its outputs are the features `name__output`.
        inputs: Column to type. Instants are in UTC, to the microsecond.
        outputs: Column to type.
        compute: From the arrays of the inputs, by name, those of the outputs: the value of a row depends on that row
            alone. A value that the type of its output does not hold is an error; a NaN is null, in and out.

    Raises:
        DefinitionError: for a type that features do not have.
    """

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    compute: Compute

    def __post_init__(self) -> None:
        wrong = [(name, type_) for name, type_ in self.inputs.items() if type_ not in INPUTS]
        wrong += [(name, type_) for name, type_ in self.outputs.items() if type_ not in OUTPUTS]
        if wrong or not self.inputs or not self.outputs:
            raise DefinitionError(
                object=f"on-demand columns {self.name}",
                observed=f"{wrong[0][0]} has type {wrong[0][1]}" if wrong else "inputs or outputs are missing",
                expected=f"outputs of {', '.join(OUTPUTS)}, from inputs of these, timestamp or date",
                next_step="correct the declaration",
            )

    @property
    def full_names(self) -> dict[str, str]:
        """The outputs by their names as features, `name__output`."""
        return {f"{self.name}__{output}": output for output in self.outputs}

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The outputs of each row, computed in this process.

        Args:
            rows: Each with all inputs.

        Raises:
            KeyError: if the function does not return the declared columns.
            pyarrow.ArrowInvalid: for values that do not fit the types.
        """
        import pyarrow as pa

        types = _arrow(self.inputs)
        arrays = [pa.array([row[name] for row in rows], type_) for name, type_ in types.items()]
        computed: list[dict[str, Any]] = _function(self)(*arrays).to_pylist()
        return computed


def require_inputs(of: str, every: Sequence[OnDemand], features: Mapping[str, str], views: Collection[str]) -> None:
    """Raises DefinitionError for an input that is named after a view, and no feature of it or of another type.

    Args:
        of: What declares the columns, for the error.
        every: The columns; each may take what one before it gives.
        features: The type of each feature, `view__feature`.
        views: The names of the views.
    """
    types, names = dict(features), set(views)
    for declared in every:
        for name, type_ in declared.inputs.items():
            if (name in types or name.partition("__")[0] in names) and types.get(name) != type_:
                raise DefinitionError(
                    object=of,
                    observed=f"{declared.name} takes {name} as {type_}, which is {types.get(name, 'no feature')}",
                    expected="a feature of its views as view__feature, with its type, or a column of the question",
                    next_step=f"correct the inputs of {declared.name}",
                )
        if declared.name in names:
            raise DefinitionError(
                object=of,
                observed=f"{declared.name} names a view or on-demand columns already",
                expected="one meaning for each name",
                next_step="rename the on-demand columns",
            )
        names.add(declared.name)
        types |= {name: declared.outputs[output] for name, output in declared.full_names.items()}


def with_values(every: Sequence[OnDemand], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the outputs of each of `every` as `name__output`, computed in this process, in their order."""
    complete = [dict(row) for row in rows]
    for declared in every:
        for row, outputs in zip(complete, declared.of_rows(complete), strict=True):
            row |= {full_name: outputs[output] for full_name, output in declared.full_names.items()}
    return complete


def with_features(every: Sequence[OnDemand], rows: DataFrame) -> DataFrame:
    """The rows with the outputs of each of `every` as `name__output`, computed by the engine, in their order."""
    for declared in every:
        rows = with_columns(declared, rows, {output: name for name, output in declared.full_names.items()})
    return rows


def with_columns(declared: OnDemand, rows: DataFrame, names: Mapping[str, str] | None = None) -> DataFrame:
    """The rows with the outputs, computed by the engine.

    Args:
        declared: The columns.
        rows: With all inputs.
        names: Output to the name of its column; None gives it its own.
    """
    from pyspark import cloudpickle
    from pyspark.sql import functions as F

    # The function travels to the engine's workers, which may not have the project.
    cloudpickle.register_pickle_by_value(inspect.getmodule(declared.compute))
    fields = ", ".join(f"`{name}`: {type_}" for name, type_ in declared.outputs.items())
    udf: Any = F.arrow_udf
    computed = udf(_function(declared), f"struct<{fields}>")(*[F.col(f"`{name}`") for name in declared.inputs])
    columns = {(names or {}).get(name, name): F.col(f"_known_computed.`{name}`") for name in declared.outputs}
    return rows.withColumn("_known_computed", computed).withColumns(columns).drop("_known_computed")


def _function(declared: OnDemand) -> Callable[..., Any]:
    """The function from the arrays of the inputs, in their order, to a struct of the outputs, all in their types."""
    name, compute = declared.name, declared.compute  # the declaration itself does not travel to the engine
    inputs, outputs = _arrow(declared.inputs), _arrow(declared.outputs)

    def computed(*arrays):  # PySpark takes annotations for the kind of function
        import pyarrow as pa
        import pyarrow.compute

        pc: Any = pyarrow.compute

        def no_nan(array):
            return pc.if_else(pc.is_nan(array), None, array) if pa.types.is_floating(array.type) else array

        columns = {column: no_nan(array.cast(inputs[column])) for column, array in zip(inputs, arrays, strict=True)}
        results = compute(columns, pc)
        if results.keys() != outputs.keys():
            raise KeyError(f"on-demand columns {name}: {sorted(results)} were returned, {sorted(outputs)} are declared")
        return pa.StructArray.from_arrays([no_nan(results[n].cast(t)) for n, t in outputs.items()], names=list(outputs))

    return computed


def _arrow(types: Mapping[str, str]) -> dict[str, Any]:
    """The Arrow types of columns."""
    import pyarrow as pa

    instant = pa.timestamp("us", "UTC")  # has no alias
    return {
        name: instant if type_ == "timestamp" else pa.type_for_alias(INPUTS[type_]) for name, type_ in types.items()
    }
