"""Parameters declared from a dataclass."""

from dataclasses import dataclass

import pytest
from rcl_interfaces.srv import DescribeParameters

from robot_learning.nodes import parameters
from robot_learning.nodes.parameters import ParameterError


@dataclass(frozen=True)
class Base:
    """Two parameters."""

    name: str = "x"
    """A name."""
    on: bool = True
    """A switch."""


@dataclass(frozen=True)
class Config(Base):
    """Three more."""

    gain: float = 1.5
    """A gain
    over two lines [1]."""
    count: int = 2
    """How many."""
    topics: tuple[str, ...] = ()
    """Some topics."""


def declared(graph, **overrides):
    from rclpy.parameter import Parameter

    node = graph.node("parameters", parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()])
    return node, parameters.declare(node, Config)


def test_defaults(graph) -> None:
    assert declared(graph)[1] == Config()


def test_values_given(graph) -> None:
    assert declared(graph, name="y", topics=["a", "b"], count=3)[1] == Config(name="y", topics=("a", "b"), count=3)


def test_a_whole_number_is_a_float_too(graph) -> None:
    assert declared(graph, gain=2)[1].gain == 2.0


@pytest.mark.parametrize("wrong", [{"gain": "much"}, {"count": 1.5}, {"topics": "a"}, {"topics": [1, 2]}, {"on": 1}])
def test_a_wrong_type_names_the_parameter(graph, wrong) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        declared(graph, **wrong)


def test_descriptions_are_the_docstrings(graph) -> None:
    declared(graph)
    answer = graph.call(
        DescribeParameters, "parameters/describe_parameters", DescribeParameters.Request(names=["gain"])
    )
    assert answer.descriptors[0].description == "A gain over two lines [1]."


def test_a_field_without_docstring_is_a_fault() -> None:
    @dataclass(frozen=True)
    class Bare:
        x: int = 1

    with pytest.raises(TypeError, match="x"):
        parameters.specs(Bare)
