"""Reading the YAML files of camera_calibration."""

from __future__ import annotations

import pytest

from robot_learning.nodes.capture.calibration import CalibrationError, load_calibration

TEXT = """\
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320.1, 0, 501.5, 240.2, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 320, 0, 0, 501, 240, 0, 0, 0, 1, 0]}
"""


def written(tmp_path, text):
    path = tmp_path / "front.yaml"
    path.write_text(text)
    return path


def test_every_field_is_taken_over(tmp_path):
    info = load_calibration(written(tmp_path, TEXT))
    assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
    assert info.k[4] == 501.5 and info.p[2] == 320.0 and info.r[8] == 1.0 and list(info.d)[:2] == [0.1, -0.2]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("image_width: 640", "image_width: wide", "image_width.*'wide'"),
        ("data: [500.5, ", "data: [", r"camera_matrix: expected 9 numbers, found 8"),
        ("projection_matrix", "projektion", "projection_matrix.*None"),
        (TEXT, "- 1\n- 2\n", "found list"),
        (TEXT, "a: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, old, new, text):
    with pytest.raises(CalibrationError, match=text):
        load_calibration(written(tmp_path, TEXT.replace(old, new)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CalibrationError, match=r"nowhere\.yaml"):
        load_calibration(tmp_path / "nowhere.yaml")
