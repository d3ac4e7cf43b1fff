"""Renaming an element together with what refers to it."""

from __future__ import annotations

import mujoco
import pytest

from robot_learning.control.renaming import ACTUATOR, JOINT, SITE, rename

MJCF = """
<mujoco>
  <worldbody>
    <site name="anchor"/>
    <body><geom name="ball" size=".1"/><site name="s0"/><joint name="a" type="slide"/>
      <body pos="1 0 0"><geom size=".1"/><joint name="b" type="slide"/><site name="s1"/></body></body>
  </worldbody>
  <tendon>
    <spatial name="rope" stiffness="3" range="0 2"><site site="s0"/><geom geom="ball" sidesite="anchor"/>
      <site site="s1"/><pulley divisor="2"/><site site="s0"/><site site="s1"/></spatial>
    <fixed name="sum"><joint joint="a" coef="1"/><joint joint="b" coef="-2"/></fixed>
  </tendon>
  <equality><joint joint1="a" joint2="b"/><connect site1="s0" site2="s1"/></equality>
  <actuator><position name="p" joint="a"/><position name="q" site="s1" refsite="anchor"/></actuator>
  <sensor><jointpos joint="b"/><framepos objtype="site" objname="s1" reftype="site" refname="anchor"/>
    <actuatorfrc actuator="p"/></sensor>
</mujoco>
"""
REFERENCES = ("eq_type", "eq_obj1id", "eq_obj2id", "actuator_trnid", "sensor_objid", "sensor_refid")


@pytest.mark.parametrize(
    ("kind", "old"), [(JOINT, "a"), (JOINT, "b"), (SITE, "s0"), (SITE, "s1"), (SITE, "anchor"), (ACTUATOR, "p")]
)
def test_the_renamed_model_is_the_same_model(kind: mujoco.mjtObj, old: str):
    before = mujoco.MjSpec.from_string(MJCF).compile()
    spec = mujoco.MjSpec.from_string(MJCF)
    rename(spec, kind, old, "renamed")
    after = spec.compile()
    assert mujoco.mj_name2id(after, kind, "renamed") == mujoco.mj_name2id(before, kind, old)
    for name in ("rope", "sum"):  # a rebuilt tendon may move to the end
        assert tendon(after, name) == tendon(before, name)
    for field in REFERENCES:
        assert getattr(after, field).tolist() == getattr(before, field).tolist(), field


def tendon(model: mujoco.MjModel, name: str) -> list[list[float]]:
    i = model.tendon(name).id
    path = slice(int(model.tendon_adr[i]), int(model.tendon_adr[i] + model.tendon_num[i]))
    fields = (model.wrap_type[path], model.wrap_objid[path], model.wrap_prm[path])
    return [f.tolist() for f in (*fields, model.tendon_stiffness[[i]], model.tendon_range[i])]
