"""Devices of a person who moves the robot: a terminal's keyboard and a gamepad."""
