"""Message classes by their ROS name, as contracts write it."""

from __future__ import annotations

import importlib
from typing import Any

from robot_learning.errors import UserError


class MessageTypeError(UserError, ValueError):
    """A message type's name is malformed, or its package is not installed."""


def message_type(name: str) -> Any:
    """The class of a type such as `sensor_msgs/msg/Image` (`MessageTypeError`)."""
    try:
        package, folder, kind = name.split("/")
        return getattr(importlib.import_module(f"{package}.{folder}"), kind)
    except ValueError:
        raise MessageTypeError(f"{name!r} is not a message type; expected <package>/msg/<Name>") from None
    except (ImportError, AttributeError) as error:
        raise MessageTypeError(f"the message type {name!r} is not installed ({error}); install its package") from error
