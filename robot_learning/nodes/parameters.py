"""ROS parameters from a frozen dataclass: each field becomes a parameter, the docstring after it its description."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from robot_learning.errors import UserError

C = TypeVar("C")

KINDS: dict[Any, Parameter.Type] = {
    str: Parameter.Type.STRING,
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    tuple[int, ...]: Parameter.Type.INTEGER_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
}


class ParameterError(UserError, ValueError):
    """A parameter has the wrong type or a value the node cannot work with."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a node: `kind` is the Python type of the field, `default` its value when nobody sets it."""

    name: str
    kind: Any
    default: Any
    description: str

    @property
    def type_name(self) -> str:
        """The type as ROS calls it, e.g. `string_array`."""
        return KINDS[self.kind].name.lower()


def descriptions(config_type: type) -> dict[str, str]:
    """The docstring after each field of a dataclass and of its bases, in one line."""
    found: dict[str, str] = {}
    for kind in reversed(config_type.__mro__):
        if not dataclasses.is_dataclass(kind):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def specs(config_type: type) -> list[ParameterSpec]:
    """Every parameter that a node with this config declares.

    Raises:
        TypeError: a field has a type that ROS parameters lack, no default or no docstring (a fault of the node).
    """
    hints, texts = get_type_hints(config_type), descriptions(config_type)
    found = []
    for field in dataclasses.fields(config_type):
        kind = hints[field.name]
        if kind not in KINDS or field.default is dataclasses.MISSING or field.name not in texts:
            raise TypeError(
                f"{config_type.__qualname__}.{field.name}: needs a type of {list(KINDS)}, a default and a docstring"
            )
        found.append(ParameterSpec(field.name, kind, field.default, texts[field.name]))
    return found


def declare(node: Node, config_type: type[C]) -> C:
    """Declare every field of `config_type` as a parameter of `node`; returns the values in force.

    Raises:
        ParameterError: a value was given with another type; names the parameter and both types.
    """
    values: dict[str, Any] = {}
    for spec in specs(config_type):
        descriptor = ParameterDescriptor(
            name=spec.name,
            description=spec.description,
            type=KINDS[spec.kind].value,
            dynamic_typing=spec.kind in (float, tuple[float, ...]) or _is_empty_list(spec),
        )
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        values[spec.name] = _value(node, spec, default, descriptor)
    return config_type(**values)


def _is_empty_list(spec: ParameterSpec) -> bool:
    """rclpy takes an empty Python list for a byte array, so the type of such a default cannot be enforced."""
    return isinstance(spec.default, tuple)


def _value(node: Node, spec: ParameterSpec, default: Any, descriptor: ParameterDescriptor) -> Any:
    try:
        found = node.declare_parameter(spec.name, default, descriptor)
    except (InvalidParameterTypeException, ParameterUninitializedException) as error:
        raise ParameterError(f"{node.get_name()}: parameter {spec.name!r} must be {spec.type_name}: {error}") from error
    value = found.value
    if spec.kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # `rate:=10` is an integer to ROS, and what a person types
    if spec.default.__class__ is tuple:
        inner = spec.kind.__args__[0]
        items = list(value) if value is not None and not isinstance(value, (str, bytes, int, float)) else None
        if value in (None, b"") or items == []:
            return ()
        if items is None or not all(_fits(item, inner) for item in items):
            raise ParameterError(
                f"{node.get_name()}: parameter {spec.name!r} must be {spec.type_name}, found {value!r}"
            )
        return tuple(inner(item) for item in items)
    if not _fits(value, spec.kind):
        raise ParameterError(f"{node.get_name()}: parameter {spec.name!r} must be {spec.type_name}, found {value!r}")
    return value


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
