"""A party's part of a scorecard for other systems: JSON, an SQL expression, an ONNX graph. All give the same points.

    to_json(card)                    text, read again by ``from_json``
    to_sql(card)                     f'SELECT id, {to_sql(card)} AS points FROM clients'
    to_onnx(card)                    bytes of a model: one input for each characteristic, output ``points``

What is exported is one party's part: the points of all parts of a row are added up by whoever may know the score.

Values count as in Python: a number has the first bin whose upper edge is not below it, a category is compared as text,
a missing value has its bin, and a category that no bin names has "other", else the bin of missing values, else no
points. Missing is NULL in SQL (and an empty text), NaN or an empty text in ONNX.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import numpy as np

from mpc.errors import UsageError
from protocols.learning.bins import Bins
from protocols.learning.scorecard import Characteristic, Scorecard

ONNX_IR, ONNX_OPSET, ONNX_ML_OPSET = 8, 17, 3
"""Versions that runtimes since 2022 know."""


def to_json(card: Scorecard) -> str:
    """The part as JSON text."""
    return json.dumps(card.to_json(), ensure_ascii=False, allow_nan=False, indent=1)


def from_json(text: str) -> Scorecard:
    """Read what ``to_json`` wrote.

    Raises:
        UsageError: anything else.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("This is no JSON text: give what to_json wrote.") from None
    return Scorecard.from_json(document)


# SQL ------------------------------------------------------------------------------------------------------------------


def to_sql(card: Scorecard, *, numbers: Collection[str] = ()) -> str:
    """The part as an SQL expression over the columns of a table: a sum of one CASE for each characteristic.

    Standard SQL. Numeric characteristics are columns of numbers, without NaN; characteristics of categories are columns
    of text, whose comparison tells small letters from capitals (MySQL's does so with a ``_bin`` collation), or else
    named in `numbers`.

    Args:
        card: the part.
        numbers: characteristics of categories that the table holds as numbers: codes such as 1 and 2.

    Raises:
        UsageError: a name or a category that data bases read differently: with a backslash or a control character;
            something in `numbers` that is no characteristic of categories.
    """
    known = {c.name for c in card.characteristics if c.bins.kind == "category"}
    if not set(numbers) <= known:
        raise UsageError(
            f"numbers names characteristics of categories, which are {', '.join(sorted(known)) or 'none'}."
        )
    cases = [
        _numeric_case(c) if c.bins.kind == "numeric" else _category_case(c, c.name in numbers)
        for c in card.characteristics
    ]
    return "\n+ ".join([str(card.base), *cases])


def _numeric_case(characteristic: Characteristic) -> str:
    bins, points, column = characteristic.bins, characteristic.points, _identifier(characteristic.name)
    whens = [f"WHEN {column} IS NULL THEN {_missing_points(characteristic)}"]
    whens += [f"WHEN {column} <= {float(edge)!r} THEN {points[i]}" for i, edge in enumerate(bins.edges)]
    return f"CASE {' '.join(whens)} ELSE {points[len(bins.edges)]} END"


def _category_case(characteristic: Characteristic, as_numbers: bool) -> str:  # noqa: FBT001  # of one caller
    bins, column = characteristic.bins, _identifier(characteristic.name)
    missing = f"{column} IS NULL" if as_numbers else f"({column} IS NULL OR {column} = '')"
    whens = [f"WHEN {missing} THEN {_missing_points(characteristic)}"]
    for names, points in zip(bins.categories, characteristic.points, strict=False):
        listed = [name for name in names if _is_number(name)] if as_numbers else [_literal(name) for name in names]
        if listed:
            whens.append(f"WHEN {column} IN ({', '.join(listed)}) THEN {points}")
    return f"CASE {' '.join(whens)} ELSE {_rest_points(characteristic)} END"


def _identifier(name: str) -> str:
    return '"' + _plain(name).replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + _plain(text).replace("'", "''") + "'"


def _plain(text: str) -> str:
    if not text or "\\" in text or not text.isprintable():
        raise UsageError(
            "A name or a category is empty, or has a backslash or a control character, which data bases read "
            "differently: rename it before binning."
        )
    return text


def _is_number(text: str) -> bool:
    """Whether SQL reads the text as a number: `float` would take inf, nan and 1_000, too."""
    digits = text.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit()


# ONNX -----------------------------------------------------------------------------------------------------------------


def to_onnx(card: Scorecard) -> bytes:
    """The part as an ONNX model, operator sets 17 and ai.onnx.ml 3.

    Its inputs are named like the characteristics: (n,) float64 for numbers, (n,) strings for categories. Its output
    ``points`` is (n,) int64.

    Raises:
        UsageError: the library ``onnx`` is not installed; a card without characteristics, or one called ``points``.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise UsageError("Export to ONNX takes a library more: pip install unseen[export]") from None
    names = [c.name for c in card.characteristics]
    if not names or "points" in names or not all(names):
        raise UsageError("An ONNX model has inputs, with names, and none is called 'points': rename that column.")
    nodes, constants, inputs, parts = [], [], [], ["base"]

    def constant(name: str, values: Sequence[float] | int, kind: type = np.int64) -> str:
        constants.append(numpy_helper.from_array(np.array(values, dtype=kind), name))
        return name

    constant("base", [card.base])
    for i, c in enumerate(card.characteristics):
        # Values inside the graph are named by the characteristic's number: an input could have any other name.
        at = f"unseen:{i}:"
        where = at + "bin"
        constant(at + "table", [*c.points, 0])
        if c.bins.kind == "numeric":
            inputs.append(helper.make_tensor_value_info(c.name, TensorProto.DOUBLE, ["n"]))
            constant(at + "one", [1])
            constant(at + "missing", _missing_bin(c.bins))
            # The bin is the number of edges below the value.
            constant(at + "edges", c.bins.edges, np.float64)
            nodes += [
                helper.make_node("Unsqueeze", [c.name, at + "one"], [at + "column"]),
                helper.make_node("Greater", [at + "column", at + "edges"], [at + "above"]),
                helper.make_node("Cast", [at + "above"], [at + "ones"], to=TensorProto.INT64),
                helper.make_node("ReduceSum", [at + "ones", at + "one"], [at + "count"], keepdims=0),
                helper.make_node("IsNaN", [c.name], [at + "gone"]),
                helper.make_node("Where", [at + "gone", at + "missing", at + "count"], [where]),
            ]
        else:
            inputs.append(helper.make_tensor_value_info(c.name, TensorProto.STRING, ["n"]))
            place = {name: b for b, group in enumerate(c.bins.categories) for name in group} | {
                "": _missing_bin(c.bins)
            }
            nodes.append(
                helper.make_node(
                    "LabelEncoder",
                    [c.name],
                    [where],
                    domain="ai.onnx.ml",
                    keys_strings=list(place),
                    values_int64s=list(place.values()),
                    default_int64=_rest_bin(c.bins),
                )
            )
        nodes.append(helper.make_node("Gather", [at + "table", where], [at + "points"]))
        parts.append(at + "points")
    for i, part in enumerate(parts[1:]):
        made = "points" if i == len(parts) - 2 else f"unseen:{i}:sum"
        nodes.append(helper.make_node("Add", [parts[0] if i == 0 else f"unseen:{i - 1}:sum", part], [made]))
    output = helper.make_tensor_value_info("points", TensorProto.INT64, ["n"])
    model = helper.make_model(
        helper.make_graph(nodes, "scorecard", inputs, [output], constants),
        opset_imports=[helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid("ai.onnx.ml", ONNX_ML_OPSET)],
        ir_version=ONNX_IR,
        producer_name="unseen",
        doc_string=f"Points of {card.party}'s part of model {card.model}",
    )
    checker.check_model(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


# Where values go that no bin names ------------------------------------------------------------------------------------


def _missing_bin(bins: Bins) -> int:
    """The bin of a missing value; `bins.number`, which has no points, where there is none."""
    return int(bins.bin_of(np.array([np.nan] if bins.kind == "numeric" else [None]))[0]) % (bins.number + 1)


def _rest_bin(bins: Bins) -> int:
    """The bin of a category that no bin names."""
    return len(bins.categories) if bins.other else _missing_bin(bins)


def _missing_points(characteristic: Characteristic) -> int:
    return (*characteristic.points, 0)[_missing_bin(characteristic.bins)]


def _rest_points(characteristic: Characteristic) -> int:
    return (*characteristic.points, 0)[_rest_bin(characteristic.bins)]
