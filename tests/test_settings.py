"""Settings that nothing can be done with are refused where they are given, in words."""

from typing import Any

import pytest

from robot_learning.algorithms.cal_ql import CalQLConfig
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.iql import IQLConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.rlpd import RLPDConfig
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.settings import SettingError


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (CalQLConfig, {"critics": 0}, "critics: expected 1 or more, found 0"),
        (CalQLConfig, {"n_actions": 0}, "n_actions: expected 1 or more, found 0"),
        (CalQLConfig, {"sampled_rows": 0}, "sampled_rows: expected 1 or more, found 0"),
        (CalQLConfig, {"hidden": ()}, "hidden: expected at least one, found none"),
        (CalQLConfig, {"hidden": (8, 0)}, r"hidden: expected 1 or more, found \(8, 0\)"),
        (CalQLConfig, {"temperature": 0.0}, "temperature: expected more than 0, found 0.0"),
        (CalQLConfig, {"initial_multiplier": 0.0}, "initial_multiplier: expected more than 0"),
        (CalQLConfig, {"critic_learning_rate": float("nan")}, "critic_learning_rate: expected 0 or more, found nan"),
        (CalQLConfig, {"target_range": (1.0, 0.0)}, "target_range: .* found 1.0 and 0.0"),
        (CalQLConfig, {"log_std_range": (2.0, -2.0)}, "log_std_range: .* found 2.0 and -2.0"),
        (CalQLConfig, {"tau": 2.0}, "tau: expected 0 to 1, found 2.0"),
        (CalQLConfig, {"backup": "best"}, "unknown backup 'best'; valid: .*'sample', 'mode', 'max'"),
        (IQLConfig, {"hidden": ()}, "hidden: expected at least one, found none"),
        (RLPDConfig, {"hidden": ()}, "hidden: expected at least one, found none"),
        (IQLConfig, {"critics": 0}, "critics: expected 1 or more, found 0"),
        (IQLConfig, {"expectile": 1.0}, "expectile: expected a number between 0 and 1, found 1.0"),
        (IQLConfig, {"temperature": -1.0}, "temperature: expected 0 or more, found -1.0"),
        (RLPDConfig, {"actor_every": 0}, "actor_every: expected 1 or more, found 0"),
        (RLPDConfig, {"subset": 11}, "subset: expected 1 to 10 critics, found 11"),
        (RLPDConfig, {"actor_value": "max"}, "unknown actor_value 'max'"),
        (EncoderConfig, {"crop": 0.0}, "crop: expected more than 0, found 0.0"),
        (EncoderConfig, {"kernels": (3, 3)}, "one of each for every convolution"),
        (BehaviourCloningConfig, {"head": "l2"}, "unknown head 'l2'; valid: .*'l1', 'mixture', 'flow'"),
        (BehaviourCloningConfig, {"inputs": "sound"}, "unknown inputs 'sound'"),
        (BehaviourCloningConfig, {"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        (BehaviourCloningConfig, {"horizon": 0}, "horizon: expected 1 or more, found 0"),
        (BehaviourCloningConfig, {"hidden": ()}, "hidden: expected at least one, found none"),
        (BehaviourCloningConfig, {"crop": 1.5}, "crop: expected 0 to 1, found 1.5"),
        (BehaviourCloningConfig, {"ema": 2.0}, "ema: expected 0 to 1, found 2.0"),
        (SelfImitationConfig, {"noise_correlation": 1.5}, "noise_correlation: expected 0 to 1, found 1.5"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_words(make: type[Any], given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        make(**given)
