"""Rename a joint, site or actuator of an MjSpec together with everything that refers to it.

MjSpec keeps references as names, so that changing an element's name alone leaves them dangling until compilation fails.
"""

from __future__ import annotations

from typing import Any

import mujoco

JOINT = mujoco.mjtObj.mjOBJ_JOINT
SITE = mujoco.mjtObj.mjOBJ_SITE
ACTUATOR = mujoco.mjtObj.mjOBJ_ACTUATOR

_TRANSMISSION = {
    mujoco.mjtTrn.mjTRN_JOINT: JOINT,
    mujoco.mjtTrn.mjTRN_JOINTINPARENT: JOINT,
    mujoco.mjtTrn.mjTRN_SITE: SITE,
    mujoco.mjtTrn.mjTRN_SLIDERCRANK: SITE,
}
_TENDON_FIELDS = (
    "actfrclimited",
    "actfrcrange",
    "armature",
    "damping",
    "frictionloss",
    "group",
    "limited",
    "margin",
    "material",
    "range",
    "rgba",
    "solimp_friction",
    "solimp_limit",
    "solref_friction",
    "solref_limit",
    "springlength",
    "stiffness",
    "width",
)
_Wrap = tuple[Any, str, float | None, float | None, str]


def elements(spec: mujoco.MjSpec, kind: mujoco.mjtObj) -> list[Any]:
    """All joints, sites or actuators of a model."""
    return list({JOINT: spec.joints, SITE: spec.sites, ACTUATOR: spec.actuators}[kind])


def rename(spec: mujoco.MjSpec, kind: mujoco.mjtObj, old: str, new: str) -> None:
    """Rename the joint, site or actuator `old` to `new` in tendons, actuators, sensors and equalities too."""
    element = next(e for e in elements(spec, kind) if e.name == old)
    if kind != ACTUATOR:
        for tendon in list(spec.tendons):  # first: a tendon's path can be read only while its references hold
            _rename_in_tendon(spec, tendon, kind, old, new)
    element.name = new
    for actuator in spec.actuators:
        if _TRANSMISSION.get(actuator.trntype) == kind:
            _replace(actuator, ("target",), old, new)
        if kind == SITE:
            _replace(actuator, ("refsite", "slidersite"), old, new)
    for sensor in spec.sensors:
        for kind_field, field in (("objtype", "objname"), ("reftype", "refname")):
            if getattr(sensor, kind_field) == kind:
                _replace(sensor, (field,), old, new)
    for equality in spec.equalities:
        if (JOINT if equality.type == mujoco.mjtEq.mjEQ_JOINT else equality.objtype) == kind:
            _replace(equality, ("name1", "name2"), old, new)


def _replace(element: Any, fields: tuple[str, ...], old: str, new: str) -> None:
    for field in fields:
        if getattr(element, field) == old:
            setattr(element, field, new)


def _rename_in_tendon(spec: mujoco.MjSpec, tendon: Any, kind: mujoco.mjtObj, old: str, new: str) -> None:
    """Rebuild the tendon when its path holds the element: a path's targets are read-only."""
    wrapped = mujoco.mjtWrap.mjWRAP_JOINT if kind == JOINT else mujoco.mjtWrap.mjWRAP_SITE
    path = [_read_wrap(tendon.path[i]) for i in range(len(tendon.path))]
    if not any((w[0] == wrapped and w[1] == old) or (kind == SITE and w[4] == old) for w in path):
        return
    name, fields = tendon.name, {field: getattr(tendon, field) for field in _TENDON_FIELDS}
    fields = {field: value.copy() if hasattr(value, "copy") else value for field, value in fields.items()}
    spec.delete(tendon)
    rebuilt = spec.add_tendon(name=name, **fields)
    for wrap_type, target, coef, divisor, side in path:
        if wrap_type == wrapped and target == old:
            target = new
        if wrap_type == mujoco.mjtWrap.mjWRAP_JOINT:
            rebuilt.wrap_joint(target, coef)
        elif wrap_type == mujoco.mjtWrap.mjWRAP_SITE:
            rebuilt.wrap_site(target)
        elif wrap_type == mujoco.mjtWrap.mjWRAP_PULLEY:
            rebuilt.wrap_pulley(divisor)
        else:
            rebuilt.wrap_geom(target, new if kind == SITE and side == old else side)


def _read_wrap(wrap: Any) -> _Wrap:
    side = wrap.sidesite.name if wrap.sidesite else ""
    return wrap.type, wrap.target.name if wrap.target else "", wrap.coef, wrap.divisor, side
