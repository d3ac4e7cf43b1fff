from setuptools import find_packages, setup

setup(name="robot_learning", version="0.1.0", packages=find_packages(include=["robot_learning", "robot_learning.*"]))
