"""The camera node: a process that captures from files, streams and the test pattern."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

CALIBRATION = """\
image_width: 96
image_height: 96
camera_matrix: {data: [111.0, 0, 47.5, 0, 111.0, 47.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {data: [0.1, 0, 0, 0, 0]}
rectification_matrix: {data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {data: [111.0, 0, 47.5, 0, 0, 111.0, 47.5, 0, 0, 0, 1, 0]}
"""


class Viewer:
    """Collects what a camera node publishes."""

    def __init__(self, graph):
        self.graph, self.node = graph, graph.node("viewer")
        self.pictures, self.infos, self.statuses, self.ages = [], [], [], []
        self.node.create_subscription(Image, "front/image_raw", self.on_picture, qos_profile_sensor_data)
        self.node.create_subscription(CameraInfo, "front/camera_info", self.infos.append, qos_profile_sensor_data)
        self.node.create_subscription(DiagnosticStatus, "camera/status", self.statuses.append, 10)

    def on_picture(self, message):
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.ages.append(self.node.get_clock().now().nanoseconds * 1e-9 - stamp)
        self.pictures.append(message)

    def wait_for_pictures(self, count=1):
        self.pictures.clear()
        self.graph.until(lambda: len(self.pictures) >= count, f"{count} pictures")
        return self.pictures[-1]

    def wait_for_status(self, level, text):
        def seen():
            return [s for s in self.statuses if s.level == level and text in s.message]

        self.graph.until(seen, f"a status with {text!r}")


@pytest.fixture
def viewer(graph):
    return Viewer(graph)


def test_the_test_pattern_comes_at_the_contract_s_size_with_honest_stamps(viewer):
    viewer.graph.start("camera", source="test")
    picture = viewer.wait_for_pictures(5)
    assert (picture.height, picture.width, picture.encoding) == (96, 96, "bgr8")
    assert picture.header.frame_id == "front_optical_frame"
    assert 0.0 <= min(viewer.ages) < 0.5
    viewer.wait_for_status(DiagnosticStatus.OK, "running")


def test_a_known_latency_of_the_driver_is_taken_off_the_stamp(viewer):
    viewer.graph.start("camera", source="test", driver_latency=2.0)
    viewer.wait_for_pictures(3)
    assert 2.0 <= min(viewer.ages) < 2.5


def test_the_calibration_goes_out_with_every_picture(viewer, tmp_path):
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION)
    viewer.graph.start("camera", source="test", calibration=str(path))
    viewer.graph.until(lambda: viewer.infos, "camera_info")
    assert viewer.infos[0].k[0] == 111.0 and viewer.infos[0].header.frame_id == "front_optical_frame"


def test_a_calibration_for_another_size_stops_the_configuration(viewer, tmp_path):
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION.replace("image_width: 96", "image_width: 640"))
    viewer.graph.start("camera", source="test", calibration=str(path))
    viewer.wait_for_status(DiagnosticStatus.ERROR, "640 x 96")


def test_an_unknown_camera_lists_the_contract_s(viewer):
    viewer.graph.start("camera", source="test", camera="side")
    viewer.wait_for_status(DiagnosticStatus.ERROR, "observation.images.front")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (128, 96))
    for _ in range(6):
        writer.write(np.zeros((96, 128, 3), np.uint8))
    writer.release()
    return str(path)


def test_pictures_of_another_size_are_an_error_and_not_sent(viewer, clip):
    viewer.graph.start("camera", source=clip)
    viewer.wait_for_status(DiagnosticStatus.ERROR, "128 x 96, the contract says 96 x 96")
    assert not viewer.pictures


def test_asked_to_resize_a_file_plays_in_a_loop_at_the_contract_s_size(viewer, clip):
    viewer.graph.start("camera", source=clip, resize=True)
    assert viewer.wait_for_pictures(15).width == 96


def test_a_file_played_once_ends_and_says_so(viewer, clip):
    viewer.graph.start("camera", source=clip, resize=True, loop=False)
    viewer.wait_for_status(DiagnosticStatus.WARN, "the file has ended")


class Stream(http.server.ThreadingHTTPServer):
    """A network camera (MJPEG over HTTP) that can be switched off."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0):
        self.off = threading.Event()
        super().__init__(("127.0.0.1", port), StreamHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def switch_off(self):
        self.off.set()
        self.shutdown()
        self.server_close()


class StreamHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((96, 96, 3), 99, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        while not self.server.off.wait(0.03):
            self.wfile.write(head + jpeg + b"\r\n")

    def log_message(self, *_):
        pass


def test_a_stream_that_goes_away_is_reported_and_found_again(viewer):
    stream = Stream()
    viewer.graph.start("camera", source=f"http://127.0.0.1:{stream.server_port}/front", reconnect_period=0.1)
    viewer.wait_for_pictures(3)
    stream.switch_off()
    viewer.wait_for_status(DiagnosticStatus.ERROR, f"127.0.0.1:{stream.server_port}")
    again = Stream(stream.server_port)
    assert viewer.wait_for_pictures(3).data[0] == pytest.approx(99, abs=3)
    again.switch_off()


def test_a_missing_device_is_an_error_until_it_comes(viewer):
    viewer.graph.start("camera", source="/dev/video63")
    viewer.wait_for_status(DiagnosticStatus.ERROR, "/dev/video63")
    assert not Path("/dev/video63").exists()
